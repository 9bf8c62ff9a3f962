"""The norm of gradients, and their clipping, between `backward` and `step`."""

from collections.abc import Iterable

import needle
from needle import Tensor, functions


def grad_norm(params: Iterable[Tensor]) -> Tensor:
    """The norm of all gradients together, on the device of the first."""
    grads = [param.grad.detach() for param in params if param.grad is not None]
    if not grads:
        return needle.zeros(())
    squares = [_wide(grad).square().sum().to(grads[0].device) for grad in grads]
    return functions.stack(squares).sum().sqrt()


def clip_grad_norm(params: Iterable[Tensor], max_norm: float) -> Tensor:
    """Scale all gradients together so that their norm is at most `max_norm`; returns what it was."""
    having = [param for param in params if param.grad is not None]
    norm = grad_norm(having)
    scale = needle.minimum(max_norm / (norm + 1e-6), 1.0)
    for param in having:
        if param.grad is not None:
            param.grad = param.grad.detach() * scale.to(param.device, param.grad.dtype)
    return norm


def clip_grad_value(params: Iterable[Tensor], limit: float) -> None:
    """Each element of the gradients, but at least -limit and at most limit."""
    for param in params:
        if param.grad is not None:
            param.grad = needle.clip(param.grad.detach(), -limit, limit)


def _wide(grad: Tensor) -> Tensor:
    """Halves in float32, where the sum of squares has room."""
    return grad.astype("float32") if grad.dtype.itemsize < 4 else grad
