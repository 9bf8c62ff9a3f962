"""summary: the layers of a model as a table, with the shapes of their outputs and what they cost."""

from dataclasses import dataclass, field
from math import prod
from typing import Any

from needle import Tensor, default_device, dispatch, init, no_grad
from needle.dispatch import Call
from needle_nn.nn.module import Module


@dataclass
class Row:
    """One module: its name, its kind, the shape of its last output, and what is its own, not of modules below it."""

    name: str
    kind: str
    parameters: int
    shape: str = "-"
    macs: int = 0


@dataclass
class Summary:
    """A table with a row for each module; printed, it is text."""

    rows: list[Row] = field(default_factory=list)

    @property
    def parameters(self) -> int:
        """How many numbers are learned."""
        return sum(row.parameters for row in self.rows)

    @property
    def macs(self) -> int:
        """Multiplications with an addition, in matrix products, convolutions and attention."""
        return sum(row.macs for row in self.rows)

    def __repr__(self) -> str:
        head = ("layer", "output", "parameters", "MACs")
        cells = [(row.name, row.shape, f"{row.parameters:,}", f"{row.macs:,}") for row in self.rows]
        cells.append(("total", "", f"{self.parameters:,}", f"{self.macs:,}"))
        widths = [max(len(line[i]) for line in (head, *cells)) for i in range(4)]
        lines = [_aligned(line, widths) for line in (head, *cells)]
        rule = "-" * max(map(len, lines))
        return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])


def _aligned(line: tuple[str, ...], widths: list[int]) -> str:
    """Names and shapes to the left, numbers to the right."""
    texts = [text.ljust(width) for text, width in zip(line[:2], widths[:2], strict=True)]
    return "  ".join(texts + [text.rjust(width) for text, width in zip(line[2:], widths[2:], strict=True)])


def summary(model: Module, shape: tuple[int, ...], dtype: Any = "float32") -> Summary:
    """What `model` does with one input of this shape: run once on zeros, in evaluation, without gradients."""
    rows = _rows(model)
    _count_parameters(model, rows)
    counter, modes = _Counter(rows), {module: module.training for module in rows}
    handles = [module.register_forward_pre_hook(counter.enter) for module in rows]
    handles += [module.register_forward_hook(counter.leave) for module in rows]
    dispatch.observers.append(counter)
    try:
        with no_grad():
            model.eval()(init.zeros(*shape, device=_device(model), dtype=dtype))
    finally:
        dispatch.observers.remove(counter)
        for handle in handles:
            handle.remove()
        for module, mode in modes.items():
            module.training = mode
    return Summary(list(rows.values()))


def _rows(model: Module) -> dict[Module, Row]:
    """A row for each module, under the one that holds it and by its name there: "blocks.0" for one in a list."""
    rows, above = dict[Module, Row](), list[str]()  # the names of the modules around
    for name, module in model.named_modules():
        while above and not name.startswith(above[-1]):
            above.pop()
        kind, own = type(module).__name__, name.removeprefix(above[-1] if above else "")
        rows[module] = Row("  " * len(above) + (f"{own}: {kind}" if name else kind), kind, 0)
        above.append(f"{name}." if name else "")
    return rows


def _count_parameters(model: Module, rows: dict[Module, Row]) -> None:
    """Each parameter in the row of the module that holds it; one that two share, in the first."""
    seen: set[int] = set()
    for module, row in rows.items():
        inner = {id(p) for child in module.children() for p in child.parameters()}
        for parameter in module.parameters():
            if id(parameter) not in inner | seen:
                seen.add(id(parameter))
                row.parameters += parameter.size


def _device(model: Module) -> Any:
    return next((tensor.device for tensor in model.state_dict().values()), default_device())


class _Counter:
    """Watches modules begin and end, and what passes dispatch meanwhile."""

    def __init__(self, rows: dict[Module, Row]) -> None:
        self.rows = rows
        self.running: list[Module] = []
        self.depth = 0  # of calls inside composed ones, which are counted already

    def enter(self, module: Module, args: Any) -> None:
        self.running.append(module)

    def leave(self, module: Module, args: Any, result: Any) -> None:
        self.running.pop()
        self.rows[module].shape = _shapes(result)

    def before(self, call: Call) -> None:
        if self.depth == 0 and self.running:
            self.rows[self.running[-1]].macs += macs_of(call.op, call.args)
        self.depth += 1

    def after(self, call: Call, token: Any) -> None:
        self.depth -= 1


def _shapes(result: Any) -> str:
    if isinstance(result, tuple | list):
        return ", ".join(_shapes(part) for part in result)
    return str(result.shape) if isinstance(result, Tensor) else "-"


def macs_of(op: str, args: tuple[Any, ...]) -> int:
    """Multiply-adds of one primitive; 0 for those that are not made of them."""
    if op == "matmul":
        dst, a, _, transposed = args[:4]
        return int(dst.size * a.shape[-2 if transposed else -1])
    if op == "linear":
        return int(args[0].size * args[1].shape[-1])
    if op in ("conv2d", "conv2d_bias"):
        return int(args[0].size * prod(args[2].shape[:3]))
    if op == "attention":
        _, q, k, v = args[:4]
        return int(q.size * k.shape[-2] + prod(q.shape[:-1]) * k.shape[-2] * v.shape[-1])
    return 0
