"""SGD: stochastic gradient descent, with momentum."""

from collections.abc import Iterable

from needle import Tensor, dispatch
from needle.device import Device
from needle_nn.optim.optimizer import Arrays, Optimizer


class SGD(Optimizer):
    """g <- grad + weight_decay * p;  u <- momentum * u + (1 - momentum) * g;  p <- p - lr * u.

    With Nesterov's momentum the step looks ahead: p <- p - lr * (momentum * u + (1 - momentum) * g).
    """

    settings = ("lr", "momentum", "weight_decay", "nesterov")

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 0.01,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        *,
        nesterov: bool = False,
    ) -> None:
        super().__init__(params)
        self.lr, self.momentum, self.weight_decay, self.nesterov = lr, momentum, weight_decay, nesterov

    @property
    def slots(self) -> tuple[str, ...]:  # type: ignore[override]
        return ("u",) if self.momentum else ()

    def update(self, device: Device, params: Arrays, grads: Arrays, *slots: Arrays) -> None:
        # The kernel's Nesterov step is lr * (g + momentum * v) without dampening. Its v is u / (1 - momentum), so
        # that the factor goes to the learning rate.
        lr, dampening = (self.lr * (1 - self.momentum), 0.0) if self.nesterov else (self.lr, self.momentum)
        dispatch.sgd_step(
            device, params, grads, slots[0] if slots else [], lr=lr, momentum=self.momentum, dampening=dampening,
            weight_decay=self.weight_decay, nesterov=self.nesterov,
        )  # fmt: skip
