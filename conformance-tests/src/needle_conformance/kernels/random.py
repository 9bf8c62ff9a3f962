"""Random numbers, which are the reference's bit for bit: any part of a stream, for any seed."""

from collections.abc import Iterator

from needle.dtype import as_dtype
from needle.kinds import Random
from needle_conformance.kernel import Arguments, Kernel, KernelTrial
from needle_conformance.kernels.elementwise import TAILS, result

_SEEDS = (0, 1, 0x9E3779B97F4A7C15, 2**64 - 1)
_OFFSETS = (0, 5, 2**32 - 1, 2**33 + 7)  # in blocks of four; across the word of the counter
_SIZES = {"tails": list(TAILS), "large": [100_003]}


def _random(kind: Random, dtype: str) -> Kernel:
    def build(trial: KernelTrial) -> Iterator[Arguments]:
        for n in _SIZES.get(trial.layout, [25]):
            for seed, offset in zip(_SEEDS, _OFFSETS, strict=True):
                yield [kind, result((n,), trial.dtype, trial.layout), seed, offset]

    return Kernel(kind.op, "random", build, [as_dtype(dtype)], ("compact", "offset", "tails", "large"), exact=True)


KERNELS = [
    _random(Random.BITS, "int32"),
    _random(Random.UNIFORM, "float32"),
    _random(Random.NORMAL, "float32"),
]
