"""Adagrad: steps scaled by the sum of squared gradients."""

from needle import NDArray
from needle_nn.optim.optimizer import Group, Optimizer, Option, Params, State, decayed


class Adagrad(Optimizer):
    """g <- grad + weight_decay * p;  s <- s + g**2;  p <- p - lr' * g / (sqrt(s) + eps), with
    lr' = lr / (1 + (t - 1) * lr_decay) at step t = 1, 2, ... (Duchi et al., 2011)."""

    slots = ("square",)
    lr_decay, weight_decay, eps = Option(), Option(), Option()

    def __init__(
        self,
        params: Params,
        lr: float = 0.01,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        eps: float = 1e-10,
    ) -> None:
        super().__init__(params, lr=lr, lr_decay=lr_decay, weight_decay=weight_decay, eps=eps)

    def update(self, p: NDArray, g: NDArray, state: State, group: Group) -> NDArray:
        g = decayed(g, p, group)
        state.square = state.square + g.square()
        lr = group.lr / (1 + (self.step_number() - 1) * group.lr_decay)
        step: NDArray = g / (state.square.sqrt() + group.eps)
        return p - lr * step
