"""The steps of optimizers, on several parameters at once, updated in place."""

from collections.abc import Iterator

from needle.shape import Shape
from needle_conformance.inputs import floats
from needle_conformance.kernel import Arguments, Kernel, KernelTrial, Operand
from needle_conformance.kernels.rows import FLOAT_TYPES

_LAYOUTS = ("compact", "offset", "empty", "tails", "large")
_SHAPES: dict[str, list[Shape]] = {
    "large": [(317, 331), (7,)],
    "empty": [(0,), (3,)],
    "tails": [(n,) for n in (1, 3, 8, 17, 33, 130)],
}

# lr, momentum, dampening, weight decay, Nesterov
_SGD = [(0.1, 0.0, 0.0, 0.0, False), (0.1, 0.9, 0.0, 0.0, False), (0.5, 0.75, 0.75, 0.125, False),
        (0.1, 0.9, 0.0, 0.01, True), (0.1, 0.0, 0.0, 0.1, False)]  # fmt: skip
# lr, beta1, beta2, eps, weight decay, decoupled, step
_ADAM = [(0.01, 0.9, 0.999, 1e-8, 0.0, False, 1), (0.01, 0.9, 0.99, 1e-6, 0.1, False, 7),
         (0.01, 0.8, 0.99, 1e-6, 0.1, True, 100)]  # fmt: skip


def _arrays(trial: KernelTrial, *domains: tuple[float, float, bool]) -> list[list[Operand]]:
    """For each domain (low, high, whether it is written) one list, with an array for each parameter."""
    rng = trial.rng()
    place = "compact" if trial.layout in ("compact", "large") else "offset"
    return [
        [
            Operand(floats(low=low, high=high).draw(rng, shape, trial.dtype), trial.dtype, place, written)
            for shape in _SHAPES.get(trial.layout, [(3, 4), (5,), ()])
        ]
        for low, high, written in domains
    ]


def _sgd_step(trial: KernelTrial) -> Iterator[Arguments]:
    for lr, momentum, dampening, weight_decay, nesterov in _SGD:
        params, grads, velocities = _arrays(trial, (-2, 2, True), (-2, 2, False), (-2, 2, True))
        yield [params, grads, velocities if momentum else [], lr, momentum, dampening, weight_decay, nesterov]


def _adam_step(trial: KernelTrial) -> Iterator[Arguments]:
    for numbers in _ADAM:
        yield [*_arrays(trial, (-2, 2, True), (-2, 2, False), (-1, 1, True), (0.25, 2, True)), *numbers]


# Sums that may cancel, of terms up to 4.
_NEAR = {"float64": 1e-14, "float32": 2e-6, "float16": 6e-3, "bfloat16": 5e-2}

KERNELS = [
    Kernel("sgd_step", "sgd_step", _sgd_step, FLOAT_TYPES, _LAYOUTS, atol=_NEAR),
    Kernel("adam_step", "adam_step", _adam_step, FLOAT_TYPES, _LAYOUTS, atol=_NEAR),
]
