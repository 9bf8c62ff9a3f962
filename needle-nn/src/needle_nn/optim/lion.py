"""Lion: steps of one size, in the direction of a mean gradient's signs."""

from needle import NDArray
from needle_nn.optim.optimizer import Group, Optimizer, Option, Params, State


class Lion(Optimizer):
    """c <- beta1 * m + (1 - beta1) * g;  p <- (1 - lr * weight_decay) * p - lr * sign(c);
    m <- beta2 * m + (1 - beta2) * g (Chen et al., 2023)."""

    slots = ("mean",)
    beta1, beta2, weight_decay = Option(), Option(), Option()

    def __init__(
        self,
        params: Params,
        lr: float = 1e-4,
        beta1: float = 0.9,
        beta2: float = 0.99,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr=lr, beta1=beta1, beta2=beta2, weight_decay=weight_decay)

    def update(self, p: NDArray, g: NDArray, state: State, group: Group) -> NDArray:
        direction: NDArray = (group.beta1 * state.mean + (1 - group.beta1) * g).sign()
        state.mean = group.beta2 * state.mean + (1 - group.beta2) * g
        return (1 - group.lr * group.weight_decay) * p - group.lr * direction
