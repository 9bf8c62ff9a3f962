"""GradScaler: keeps gradients of float16 from vanishing, by scaling the loss and the gradients back."""

from typing import Any

from needle import Tensor, no_grad, tracing
from needle.errors import ArgumentError
from needle_nn.optim.optimizer import Optimizer


class GradScaler:
    """Loss scaling (Micikevicius et al., 2018) for training inside `needle.autocast("float16")`.

    scaler.scale(loss).backward(); scaler.step(optimizer); scaler.update()

    A step whose gradients hold an infinity or a NaN is left out and the scale is made smaller; after
    `growth_interval` steps without any it is made larger.
    """

    def __init__(
        self, init_scale: float = 65536.0, growth_factor: float = 2.0, backoff_factor: float = 0.5,
        growth_interval: int = 2000, enabled: bool = True,
    ) -> None:  # fmt: skip
        if growth_factor <= 1 or not 0 < backoff_factor < 1:
            raise ArgumentError(
                f"GradScaler: growth_factor is above 1 and backoff_factor between 0 and 1, "
                f"not {growth_factor} and {backoff_factor}"
            )
        self.value = init_scale if enabled else 1.0
        self.growth_factor, self.backoff_factor, self.growth_interval = growth_factor, backoff_factor, growth_interval
        self.enabled = enabled
        self.good_steps = 0  # since the scale last changed
        self._finite: dict[int, bool] = {}  # of the optimizers whose gradients are unscaled, by id

    def scale(self, loss: Tensor) -> Tensor:
        """The loss times the scale."""
        return loss * self._now() if self.enabled else loss

    def _now(self) -> float:
        """The scale; in a captured function, one that is read anew."""
        if tracing.active is None:
            return self.value
        scale: float = tracing.active.number(lambda: self.value)
        return scale

    def unscale_(self, optimizer: Optimizer) -> None:
        """Divide the gradients by the scale, as clipping them needs; `step` does it otherwise."""
        if not self.enabled or id(optimizer) in self._finite:
            return
        grads = [p.grad for p in optimizer.params if p.grad is not None]
        with no_grad():
            for grad in grads:
                grad.writable().assign((grad * (1.0 / self._now())).array)
            self._finite[id(optimizer)] = all_finite(grads)

    def step(self, optimizer: Optimizer) -> bool:
        """`optimizer.step()`, unless a gradient is not finite; says whether it was done. Waits for the device."""
        self.unscale_(optimizer)
        finite = self._finite.get(id(optimizer), True)
        if finite:
            optimizer.step()
        return finite

    def update(self) -> None:
        """Adjust the scale to what the steps since the last update met."""
        if not self._finite:
            return
        if not all(self._finite.values()):
            self.value *= self.backoff_factor
            self.good_steps = 0
        else:
            self.good_steps += 1
            if self.good_steps == self.growth_interval:
                self.value *= self.growth_factor
                self.good_steps = 0
        self._finite.clear()

    def get_scale(self) -> float:
        """The scale now."""
        return self.value

    def state_dict(self) -> dict[str, Any]:
        return {"scale": self.value, "good_steps": self.good_steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.value, self.good_steps = state["scale"], state["good_steps"]


def all_finite(tensors: list[Tensor]) -> bool:
    """Whether no element is an infinity or a NaN, which times 0 is a NaN. Waits once."""
    if not tensors:
        return True
    total = (tensors[0] * 0.0).sum()
    for tensor in tensors[1:]:
        total = total + (tensor * 0.0).sum().to(total.device)
    return bool(total.item() == 0)
