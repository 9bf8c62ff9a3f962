"""SGD: stochastic gradient descent, with momentum."""

from needle import dispatch
from needle.device import Device
from needle_nn.optim.optimizer import Arrays, Group, Optimizer, Option, Params


class SGD(Optimizer):
    """g <- grad + weight_decay * p;  u <- momentum * u + (1 - momentum) * g;  p <- p - lr * u.

    With Nesterov's momentum the step looks ahead: p <- p - lr * (momentum * u + (1 - momentum) * g).
    """

    momentum, weight_decay, nesterov = Option(), Option(), Option()

    def __init__(
        self,
        params: Params,
        lr: float = 0.01,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        *,
        nesterov: bool = False,
    ) -> None:
        super().__init__(params, lr=lr, momentum=momentum, weight_decay=weight_decay, nesterov=nesterov)

    def _slots(self, group: Group) -> tuple[str, ...]:
        return ("u",) if group.momentum else ()

    def advance(self, group: Group, device: Device, params: Arrays, grads: Arrays, *slots: Arrays) -> None:
        # The kernel's Nesterov step is lr * (g + momentum * v) without dampening. Its v is u / (1 - momentum), so
        # that the factor goes to the learning rate.
        lr, momentum = group.lr, group.momentum
        lr, dampening = (lr * (1 - momentum), 0.0) if group.nesterov else (lr, momentum)
        dispatch.sgd_step(
            device, params, grads, slots[0] if slots else [], lr=lr, momentum=momentum, dampening=dampening,
            weight_decay=group.weight_decay, nesterov=bool(group.nesterov),
        )  # fmt: skip
