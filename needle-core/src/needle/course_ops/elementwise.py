"""Elementwise ops under the course's names. Their gradients are the rules of Needle's ops."""

from typing import Any, ClassVar

import numpy as np

from needle import op as core
from needle.backend_selection import array_api
from needle.course_op import TensorOp, by_rule
from needle.ops import elementwise, pairwise, scalar
from needle.shape import broadcast_shapes


class Ruled(TensorOp):
    """An op whose gradient is a rule that is there already."""

    rule: core.Op

    def gradient(self, out_grad: Any, node: Any) -> Any:
        return by_rule(self.rule, out_grad, node)


class EWiseAdd(Ruled):
    rule = pairwise.Add()

    def compute(self, *args: Any) -> Any:
        a, b = together("add", *args)
        return a + b


class EWiseMul(Ruled):
    rule = pairwise.Multiply()

    def compute(self, *args: Any) -> Any:
        a, b = together("multiply", *args)
        return a * b


class EWisePow(Ruled):
    rule = pairwise.Power()

    def compute(self, *args: Any) -> Any:
        a, b = together("power", *args)
        return a**b


class EWiseDiv(Ruled):
    rule = pairwise.Divide()

    def compute(self, *args: Any) -> Any:
        a, b = together("divide", *args)
        return a / b


class WithScalar(Ruled):
    """An op with a number, which is a parameter."""

    kind: ClassVar[type[scalar.WithScalar]]

    def __init__(self, scalar: Any) -> None:
        self.scalar = number(scalar)
        self.rule = self.kind(self.scalar)


class AddScalar(WithScalar):
    kind = scalar.AddScalar

    def compute(self, *args: Any) -> Any:
        return args[0] + self.scalar


class MulScalar(WithScalar):
    kind = scalar.MulScalar

    def compute(self, *args: Any) -> Any:
        return args[0] * self.scalar


class PowerScalar(WithScalar):
    kind = scalar.PowerScalar

    def compute(self, *args: Any) -> Any:
        return args[0] ** self.scalar


class DivScalar(WithScalar):
    kind = scalar.DivScalar

    def compute(self, *args: Any) -> Any:
        return args[0] / self.scalar


class Negate(Ruled):
    rule = elementwise.Negate()

    def compute(self, *args: Any) -> Any:
        return -args[0]


class Log(Ruled):
    rule = elementwise.Log()

    def compute(self, *args: Any) -> Any:
        return array_api.log(args[0])


class Exp(Ruled):
    rule = elementwise.Exp()

    def compute(self, *args: Any) -> Any:
        return array_api.exp(args[0])


class ReLU(Ruled):
    """max(x, 0); its gradient at 0 is 0."""

    rule = elementwise.ReLU()

    def compute(self, *args: Any) -> Any:
        return array_api.maximum(args[0], 0)


class Tanh(Ruled):
    rule = elementwise.Tanh()

    def compute(self, *args: Any) -> Any:
        return array_api.tanh(args[0])


def number(value: Any) -> Any:
    """A scalar as a Python number, so that it leaves the dtype of arrays alone; NumPy arrays of one element are one."""
    return value.item() if isinstance(value, np.generic | np.ndarray) else value


def together(op: str, a: Any, b: Any) -> tuple[Any, Any]:
    """Two arrays stretched to their common shape."""
    if a.shape == b.shape:
        return a, b
    shape = broadcast_shapes(op, tuple(a.shape), tuple(b.shape))
    return array_api.broadcast_to(a, shape), array_api.broadcast_to(b, shape)


def add(a: Any, b: Any) -> Any:
    return EWiseAdd()(a, b)


def add_scalar(a: Any, scalar: Any) -> Any:
    return AddScalar(scalar)(a)


def multiply(a: Any, b: Any) -> Any:
    return EWiseMul()(a, b)


def mul_scalar(a: Any, scalar: Any) -> Any:
    return MulScalar(scalar)(a)


def power(a: Any, b: Any) -> Any:
    return EWisePow()(a, b)


def power_scalar(a: Any, scalar: Any) -> Any:
    return PowerScalar(scalar)(a)


def divide(a: Any, b: Any) -> Any:
    return EWiseDiv()(a, b)


def divide_scalar(a: Any, scalar: Any) -> Any:
    return DivScalar(scalar)(a)


def negate(a: Any) -> Any:
    return Negate()(a)


def log(a: Any) -> Any:
    return Log()(a)


def exp(a: Any) -> Any:
    return Exp()(a)


def relu(a: Any) -> Any:
    return ReLU()(a)


def tanh(a: Any) -> Any:
    return Tanh()(a)
