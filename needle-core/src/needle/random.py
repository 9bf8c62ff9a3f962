"""Random numbers that are the same on every device: a generator is a seed and a count of what was drawn."""

import secrets

import numpy as np

from needle import dispatch, tracing
from needle.device import Device
from needle.errors import DTypeError
from needle.kinds import Random
from needle.ndarray import NDArray, empty
from needle.shape import Shape, as_shape

_MASK = (1 << 64) - 1


class Generator:
    """A stream of Philox4x32-10 numbers (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011).

    The n-th draw depends on the seed and on how many numbers were drawn before, never on the device.
    """

    def __init__(self, seed: int | None = None) -> None:
        self.seed = (secrets.randbits(64) if seed is None else seed) & _MASK
        self.offset = 0  # blocks of four numbers drawn so far
        if tracing.active is not None:
            tracing.active.once("it makes a generator")

    def get_state(self) -> dict[str, int]:
        return {"seed": self.seed, "offset": self.offset}

    def set_state(self, state: dict[str, int]) -> None:
        if tracing.active is not None:
            tracing.active.once("it sets a generator's state")
        self.seed, self.offset = state["seed"] & _MASK, state["offset"] & _MASK

    def uniform(self, shape: int | Shape, device: Device | str | None = None) -> NDArray:
        """float32 in [0, 1)."""
        return self._draw(Random.UNIFORM, shape, "float32", device)

    def normal(self, shape: int | Shape, device: Device | str | None = None) -> NDArray:
        """float32 of mean 0 and variance 1."""
        return self._draw(Random.NORMAL, shape, "float32", device)

    def bits(self, shape: int | Shape, device: Device | str | None = None) -> NDArray:
        """int32, all bits random."""
        return self._draw(Random.BITS, shape, "int32", device)

    def _draw(self, kind: Random, shape: int | Shape, dtype: str, device: Device | str | None) -> NDArray:
        out = empty(as_shape(shape, kind.op), dtype, device)
        if out.size:
            seed, offset = self._next((out.size + 3) // 4)
            dispatch.random(out.device, kind, out, seed, offset)
        return out

    def _next(self, blocks: int) -> tuple[int, int]:
        """The seed and the number of the first of some blocks, which are then drawn."""
        if tracing.active is None:
            return self.seed, self._take(blocks)
        return tracing.active.number(lambda: self.seed), tracing.active.number(lambda: self._take(blocks))

    def _take(self, blocks: int) -> int:
        first = self.offset
        self.offset = (first + blocks) & _MASK
        return first

    def __repr__(self) -> str:
        return f"Generator(seed={self.seed}, offset={self.offset})"


_shared = Generator()


def default_generator() -> Generator:
    """The generator of `needle.rand` and its like, where none is given."""
    return _shared


def draw_from(generator: Generator) -> None:
    """Make it the default one: for `face.py`, when Needle is imported."""
    global _shared
    _shared = generator


def manual_seed(seed: int) -> Generator:
    """Start the default generator anew from `seed`, and NumPy's global one, from which layers draw their weights."""
    if not isinstance(seed, int):
        raise DTypeError(f"manual_seed: a seed is an int, not {type(seed).__name__}")
    generator = default_generator()
    generator.set_state({"seed": seed, "offset": 0})
    np.random.seed(seed & 0xFFFFFFFF)
    return generator
