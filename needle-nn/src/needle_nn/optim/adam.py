"""Adam and AdamW: steps scaled by running moments of the gradient."""

from needle import dispatch
from needle.device import Device
from needle_nn.optim.optimizer import Arrays, Group, Optimizer, Option, Params


class Adam(Optimizer):
    """g <- grad + weight_decay * p;  m <- beta1 * m + (1 - beta1) * g;  s <- beta2 * s + (1 - beta2) * g**2;
    p <- p - lr * m' / (sqrt(s') + eps), with m' = m / (1 - beta1**t) and s' = s / (1 - beta2**t) at step t = 1, 2, ...
    (Kingma and Ba, 2015).
    """

    slots = ("mean", "square")
    beta1, beta2, eps, weight_decay = Option(), Option(), Option(), Option()
    decoupled = False  # whether weight decay acts on the parameter itself, past the moments

    def __init__(
        self,
        params: Params,
        lr: float = 0.01,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr=lr, beta1=beta1, beta2=beta2, eps=eps, weight_decay=weight_decay)

    def advance(self, group: Group, device: Device, params: Arrays, grads: Arrays, *slots: Arrays) -> None:
        means, squares = slots
        dispatch.adam_step(
            device, params, grads, means, squares, lr=group.lr, beta1=group.beta1, beta2=group.beta2, eps=group.eps,
            weight_decay=group.weight_decay, decoupled=self.decoupled, step=self.step_number(),
        )  # fmt: skip


class AdamW(Adam):
    """Adam on the bare gradient, after p <- (1 - lr * weight_decay) * p (Loshchilov and Hutter, 2019)."""

    decoupled = True

    def __init__(
        self,
        params: Params,
        lr: float = 0.01,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(params, lr, beta1, beta2, eps, weight_decay)
