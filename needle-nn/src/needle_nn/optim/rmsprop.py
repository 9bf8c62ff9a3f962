"""RMSProp: steps scaled by a running mean of squared gradients."""

from needle import NDArray
from needle_nn.optim.optimizer import Group, Optimizer, Option, Params, State, decayed


class RMSProp(Optimizer):
    """g <- grad + weight_decay * p;  s <- alpha * s + (1 - alpha) * g**2;  u <- momentum * u + g / (sqrt(s) + eps);
    p <- p - lr * u (Tieleman and Hinton, 2012)."""

    alpha, eps, weight_decay, momentum = Option(), Option(), Option(), Option()

    def __init__(
        self,
        params: Params,
        lr: float = 0.01,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
    ) -> None:
        super().__init__(params, lr=lr, alpha=alpha, eps=eps, weight_decay=weight_decay, momentum=momentum)

    def _slots(self, group: Group) -> tuple[str, ...]:
        return ("square", "u") if group.momentum else ("square",)

    def update(self, p: NDArray, g: NDArray, state: State, group: Group) -> NDArray:
        g = decayed(g, p, group)
        state.square = group.alpha * state.square + (1 - group.alpha) * g.square()
        step: NDArray = g / (state.square.sqrt() + group.eps)
        if group.momentum:
            step = state.u = group.momentum * state.u + step
        return p - group.lr * step
