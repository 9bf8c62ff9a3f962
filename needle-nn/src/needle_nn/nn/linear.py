"""Linear: an affine map of the last axis."""

from typing import Any

import needle
from needle import Device, Tensor, init
from needle_nn.nn.module import Module, Parameter


class Linear(Module):
    """(..., in_features) -> (..., out_features): x @ weight + bias."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: Device | str | None = None,
        dtype: Any = "float32",
    ) -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.weight = Parameter(init.kaiming_uniform(in_features, out_features, device=device, dtype=dtype))
        self.bias: Parameter | None = None
        if bias:
            column = init.kaiming_uniform(out_features, 1, device=device, dtype=dtype)
            self.bias = Parameter(column.reshape(1, out_features))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight if self.bias is None else needle.linear(x, self.weight, self.bias)

    def with_relu(self, x: Tensor) -> Tensor | None:
        """relu of this layer's result in one pass, or None where that takes the layers one by one: without a bias."""
        if self.bias is None or not isinstance(x, Tensor):
            return None
        return needle.linear(x, self.weight, self.bias, relu=True)

    def _describe(self) -> str:
        return f"{self.in_features}, {self.out_features}" + (", bias=False" if self.bias is None else "")
