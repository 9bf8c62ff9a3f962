"""The derivatives of a trial's function: by its rules on the device, and by differences on the host."""

from typing import Any

import numpy as np

from needle.device import Device
from needle.registry import BUILT_IN
from needle.registry import device as as_device
from needle.tensor import Tensor, grad_of
from needle.testing import assert_close, assert_gradient, numeric_gradient
from needle_conformance.case import Options
from needle_conformance.trial import Trial, outputs

# Gradients are some roundings further from the truth than values are.
_RTOL = {"float32": 2e-5, "float16": 2e-2, "bfloat16": 1.5e-1}


class Derivative:
    """d/dx sum(w * f(x)) for cotangents w of f's results, of one trial with one set of options.

    At small operands that the trial draws, unless others are given.
    """

    def __init__(self, trial: Trial, options: Options, values: list[Any] | None = None) -> None:
        self.trial, self.options = trial, options
        self.values = trial.values(small=True) if values is None else values
        self.places = [i for i, x in enumerate(trial.case.inputs) if x.free]  # the operands that have gradients
        self.rng = np.random.default_rng(trial.seed + 1)
        shapes = [np.shape(y) for y in trial.expected(self.values, options)]
        self.cotangents = [self.rng.integers(4, 13, shape) / 8 for shape in shapes]  # exact in every float type
        self.directions = [self.rng.integers(4, 13, np.shape(self.values[i])) / 8 for i in self.places]

    def by_rule(self, device: Device | None = None, dtype: Any = None) -> list[Any]:
        """The gradients of the free operands, as NumPy arrays."""
        return [g.numpy() for g in self._first(self.values, self.cotangents, device, dtype)[0]]

    def _first(
        self, values: list[Any], cotangents: list[Any], device: Device | None = None, dtype: Any = None, *,
        graph: bool = False,
    ) -> tuple[list[Tensor], list[Tensor]]:  # fmt: skip
        """Gradients, and the leaves on which they depend: the operands and the cotangents."""
        tensors = self.trial.tensors(values, device, dtype)
        leaves = [tensors[i].requires_grad_() for i in self.places]
        results = outputs(self.trial.case.function(*tensors, **self.options))
        weights = [
            Tensor(w, device=y.device, dtype=y.dtype, requires_grad=graph)
            for w, y in zip(cotangents, results, strict=True)
        ]
        found = grad_of(results, leaves, weights, create_graph=graph, allow_unused=True)
        for g, x in zip(found, leaves, strict=True):
            assert g is None or (g.dtype, g.device) == (x.dtype, x.device), f"{g.dtype} gradient of {x.dtype}"
        return [Tensor(x.array * 0) if g is None else g for g, x in zip(found, leaves, strict=True)], leaves + weights

    def by_differences(self) -> list[Any]:
        """The same, by central differences of what the row expects, on the host."""
        return numeric_gradient(self._weighted_sum, [self.values[i] for i in self.places])

    def _weighted_sum(self, *arrays: Any) -> float:
        results = self.trial.expected(self._with(arrays), self.options)
        return float(sum(np.sum(w * y) for w, y in zip(self.cotangents, results, strict=True)))

    def _with(self, arrays: Any) -> list[Any]:
        values = list(self.values)
        for i, array in zip(self.places, arrays, strict=True):
            values[i] = array
        return values

    def second_by_rule(self) -> list[Any]:
        """d/dx and d/dw of sum(v * gradient), for directions v, by rules that were recorded."""
        gradients, leaves = self._first(self.values, self.cotangents, graph=True)
        total = gradients[0] * 0
        total = sum(((g * Tensor(v, device=g.device)).sum() for g, v in zip(gradients, self.directions, strict=True)),
                    total.sum())  # fmt: skip
        found = grad_of(total, leaves, allow_unused=True)
        return [np.zeros(x.shape) if g is None else g.numpy() for g, x in zip(found, leaves, strict=True)]

    def second_by_differences(self) -> list[Any]:
        """The same, by central differences of the gradients that the rules give on the device."""
        count = len(self.places)

        def along(*arrays: Any) -> float:
            gradients, _ = self._first(self._with(arrays[:count]), list(arrays[count:]))
            return float(sum(np.sum(v * g.numpy()) for v, g in zip(self.directions, gradients, strict=True)))

        return numeric_gradient(along, [self.values[i] for i in self.places] + self.cotangents, order=2)

    def check_first(self) -> None:
        """In float64 against differences, to 1e-6; in narrower types against the reference in float64."""
        dtype, found = self.trial.dtype, self.by_rule()
        if dtype == "float64":
            wanted, rtol = self.by_differences(), 1e-6
        else:
            wanted, rtol = self.by_rule(as_device(BUILT_IN), "float64"), _RTOL[dtype]
        for i, actual, expected in zip(self.places, found, wanted, strict=True):
            about = f"{dict(self.options) or ''} gradient of operand {i}: ".lstrip()
            if dtype == "float64":
                assert_gradient(actual, expected, rtol, about)
            else:
                assert_close(actual, expected, dtype=dtype, rtol=rtol, atol=_floor(expected, rtol), about=about)

    def check_second(self) -> None:
        """In float64 against differences of the first, to 1e-4."""
        found, wanted = self.second_by_rule(), self.second_by_differences()
        for i, (actual, expected) in enumerate(zip(found, wanted, strict=True)):
            assert_gradient(actual, expected, 1e-4, f"{dict(self.options) or ''} second derivative {i}: ".lstrip())


def _floor(expected: Any, rtol: float) -> float:
    """What is lost where the terms of a gradient cancel: some units in the last place of the largest element."""
    return rtol * max(float(np.max(np.abs(expected), initial=0.0)), 1.0) / 4


def check_first(trial: Trial) -> None:
    """The first derivatives, with each of the row's options."""
    for options in trial.case.options:
        Derivative(trial, options).check_first()


def check_second(trial: Trial) -> None:
    """The second ones."""
    for options in trial.case.options:
        Derivative(trial, options).check_second()
