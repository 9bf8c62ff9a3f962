"""Adam and AdamW: steps scaled by running moments of the gradient."""

from collections.abc import Iterable

from needle import Tensor, dispatch
from needle.device import Device
from needle_nn.optim.optimizer import Arrays, Optimizer


class Adam(Optimizer):
    """g <- grad + weight_decay * p;  m <- beta1 * m + (1 - beta1) * g;  s <- beta2 * s + (1 - beta2) * g**2;
    p <- p - lr * m' / (sqrt(s') + eps), with m' = m / (1 - beta1**t) and s' = s / (1 - beta2**t) at step t = 1, 2, ...
    """

    slots = ("mean", "square")
    settings = ("lr", "beta1", "beta2", "eps", "weight_decay")
    decoupled = False  # whether weight decay acts on the parameter itself, past the moments

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 0.01,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params)
        self.lr, self.beta1, self.beta2, self.eps, self.weight_decay = lr, beta1, beta2, eps, weight_decay

    def update(self, device: Device, params: Arrays, grads: Arrays, *slots: Arrays) -> None:
        means, squares = slots
        dispatch.adam_step(
            device, params, grads, means, squares, lr=self.lr, beta1=self.beta1, beta2=self.beta2, eps=self.eps,
            weight_decay=self.weight_decay, decoupled=self.decoupled, step=self.steps,
        )  # fmt: skip


class AdamW(Adam):
    """Adam on the bare gradient, after p <- (1 - lr * weight_decay) * p."""

    decoupled = True

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 0.01,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(params, lr, beta1, beta2, eps, weight_decay)
