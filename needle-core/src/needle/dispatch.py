"""The one door between arrays and backends.

Each function here runs one primitive of the protocol on a device. For each op, dtypes and layout class the way is
found once and then kept: *native* (the backend's method, with strided operands made contiguous first where the
backend does not read strides), *composed* (the default of `composed.py`, on the same device) or *host* (the
reference backend, over copies). Observers see every call: capture, profiling and validation are observers.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from needle import tracing
from needle.backend import Backend, View, map_views, views_in
from needle.device import Device
from needle.dtype import INDEX, DType, int32, int64
from needle.errors import ArgumentError, DTypeError
from needle.fallback import Path, note, record
from needle.host import run_on_host
from needle.kinds import Binary, Kind, Random, Reduce, Unary
from needle.layout import Layout
from needle.registry import BUILT_IN, registry

Plan = Callable[..., None]

# Which arguments a primitive writes, by position; of those not named here the first.
WRITES = {"unary": (1,), "binary": (1,), "binary_scalar": (1,), "reduce": (1,), "random": (1,), "sgd_step": (0, 2),
          "adam_step": (0, 2, 3), "pool2d": (1,), "pool2d_grad": (1,), "layer_norm_grad": (0, 1, 2),
          "rms_norm_grad": (0, 1), "moments": (0, 1), "batch_norm_grad": (0, 1, 2),
          "attention_grad": (0, 1, 2), "lstm_grad": (0, 1, 2), "elementwise": (0,)}  # fmt: skip
# Primitives whose contract lets some arguments have any strides, on every backend.
_ANY_STRIDES = {"copy": (0, 1), "gather": (2,), "scatter_add": (1,)}
# Primitives that take one element in place of a whole operand.
_ELEMENTWISE = frozenset({"unary", "binary", "binary_scalar", "where", "cast"})

# Primitives whose operands are of one type, but for the index that some have, by its position.
_ONE_TYPE = frozenset({
    "copy", "matmul", "linear", "conv2d", "conv2d_bias", "conv2d_grad_input", "conv2d_grad_weight", "pool2d",
    "pool2d_grad", "layer_norm", "layer_norm_grad", "rms_norm", "rms_norm_grad", "moments", "batch_norm",
    "batch_norm_relu", "batch_norm_grad", "attention", "attention_grad", "softmax", "softmax_grad", "log_softmax",
    "log_softmax_grad", "gather", "scatter_add", "cross_entropy", "cross_entropy_grad", "sgd_step", "adam_step", "lstm",
    "lstm_grad",
})  # fmt: skip
_INDEX = {"gather": 2, "scatter_add": 1, "cross_entropy": 2, "cross_entropy_grad": 3}

COMPOSED: dict[str, Plan] = {}  # filled by `composed.py`


@dataclass(frozen=True)
class Call:
    """One primitive on its way through dispatch, as an observer sees it."""

    op: str
    device: Device
    args: tuple[Any, ...]
    path: Path

    @property
    def name(self) -> str:
        """`unary` of kind EXP is "exp"; a primitive without kinds is itself."""
        return op_name(self.op, self.args)


class Observer(Protocol):
    """Sees every call. `before` may return something that `after` is given back."""

    def before(self, call: Call) -> Any: ...
    def after(self, call: Call, token: Any) -> None: ...


observers: list[Observer] = []


def composes(op: str) -> Callable[[Plan], Plan]:
    """Register the default of an optional primitive; it fills `dst` by means of other primitives."""

    def register(function: Plan) -> Plan:
        COMPOSED[op] = function
        return function

    return register


def op_name(op: str, args: Sequence[Any]) -> str:
    return args[0].op if args and isinstance(args[0], Kind) else op


class Dispatcher:
    """The door to one device: its backend, and the plans found so far."""

    __slots__ = ("backend", "binary", "binary_scalar", "device", "offers", "plans", "unary")

    def __init__(self, device: Device) -> None:
        self.device = device
        self.backend: Backend = registry.backend(device)
        self.backend.set_matmul_precision(_matmul_precision)
        self.plans: dict[Any, Plan] = {}
        self.offers: dict[str, bool] = {}  # which primitives the backend has, once asked for
        self.unary: dict[Any, Plan] = {}  # the hottest primitives have a table of their own: a shorter key
        self.binary: dict[Any, Plan] = {}
        self.binary_scalar: dict[Any, Plan] = {}

    def plan(self, op: str, args: tuple[Any, ...]) -> Plan:
        """How to run `op` on operands like these."""
        _check_types(op, args)
        return self.route(op, args)[1]

    def route(self, op: str, args: tuple[Any, ...]) -> tuple[Path, Plan]:
        reason = self._why_not_native(op, args)
        if reason is None:
            method: Plan = getattr(self.backend, op)
            return "native", self._staged(op, method) if self._needs_staging(op, args) else method
        path: Path = "composed" if op in COMPOSED else "host"
        entry = record(op_name(op, args), str(_dtypes(args)[-1]), self.device, path, reason)
        run: Plan = COMPOSED[op] if path == "composed" else self._on_host(op)

        def counted(*arguments: Any) -> None:
            note(entry)
            run(*arguments)

        return path, counted

    def _why_not_native(self, op: str, args: tuple[Any, ...]) -> str | None:
        backend = self.backend
        if not backend.implements(op):
            return f"the backend has no {op}"
        kind = args[0] if isinstance(args[0], Kind) else None
        return backend.supports(op, kind, _dtypes(args))

    def _needs_staging(self, op: str, args: tuple[Any, ...]) -> bool:
        if op in self.backend.strided:
            kept = op in self.backend.keeps_order
            return not kept and any(not view.layout.contiguous for view in _written(op, args))
        free = _ANY_STRIDES.get(op, ())
        return any(not v.layout.contiguous for i, a in enumerate(args) if i not in free for v in views_in(a))

    def _staged(self, op: str, method: Plan) -> Plan:
        """Copy strided operands to contiguous ones, run, and copy strided results back."""
        free = _ANY_STRIDES.get(op, ())
        writes = WRITES.get(op, (0,))
        reads_strides = op in self.backend.strided

        def run(*args: Any) -> None:
            back: list[tuple[View, View]] = []

            def stage(i: int, view: View) -> View:
                if view.layout.contiguous or i in free or (reads_strides and i not in writes):
                    return view
                if op in _ELEMENTWISE and i not in writes and not any(view.layout.strides):
                    return View(view.buffer, Layout((), (), view.layout.offset), view.dtype)
                staged = self.contiguous(view)
                if i in writes:
                    back.append((view, staged))
                return staged

            method(*[map_views(arg, partial(stage, i)) for i, arg in enumerate(args)])
            for original, result in back:
                copy(self.device, original, result)

        return run

    def contiguous(self, view: View) -> View:
        """A contiguous copy of a view."""
        result = View(
            allocate(self.device, view.layout.size * view.dtype.itemsize), Layout.compact(view.layout.shape), view.dtype
        )
        copy(self.device, result, view)
        return result

    def _on_host(self, op: str) -> Plan:
        writes = WRITES.get(op, (0,))
        reference = dispatcher(Device(BUILT_IN))

        def run(*args: Any) -> None:
            run_on_host(self.backend, reference.backend, writes, args, lambda host: reference.plan(op, host)(*host))

        return run

    def check_dtype(self, dtype: DType, op: str) -> None:
        """Raise DTypeError where the device cannot hold elements of this type."""
        if dtype not in self.backend.dtypes:
            raise DTypeError(
                f"{op}: {self.device} has no {dtype}; it has {', '.join(sorted(self.backend.dtypes))}; "
                f"{dtype} is on {', '.join(_holders(dtype))}"
            )


def _check_types(op: str, args: tuple[Any, ...]) -> None:
    """Raise DTypeError for operands that a kernel would misread: all are of one type, and an index of its own."""
    at = _INDEX.get(op)
    if at is not None and args[at].dtype not in INDEX:
        raise DTypeError(f"{op}: an index is int32 or int64, not {args[at].dtype}; convert it with .astype('int32')")
    found = dict.fromkeys(_dtypes(tuple(arg for i, arg in enumerate(args) if i != at)))
    if len(found) > 1 and op in _ONE_TYPE:
        raise DTypeError(f"{op}: operands are {' and '.join(found)}; convert them to one type with .astype(dtype)")


def _written(op: str, args: tuple[Any, ...]) -> list[View]:
    free = _ANY_STRIDES.get(op, ())
    return [view for i in WRITES.get(op, (0,)) if i not in free for view in views_in(args[i])]


def _dtypes(args: tuple[Any, ...]) -> tuple[DType, ...]:
    return tuple(view.dtype for arg in args for view in views_in(arg))


class _Doors(dict[Device, Dispatcher]):
    """The doors by device; a missing one is opened."""

    def __missing__(self, device: Device) -> Dispatcher:
        return self.setdefault(device, Dispatcher(device))


_dispatchers = _Doors()


def _holders(dtype: DType) -> list[str]:
    """The devices in use that have a dtype, and the reference: telling of an error opens no hardware."""
    doors = [dispatcher(Device(BUILT_IN)), *_dispatchers.values()]
    return sorted({str(door.device) for door in doors if dtype in door.backend.dtypes})


_matmul_precision = "highest"


def set_matmul_precision(precision: str) -> None:
    """How all devices make float32 products and convolutions: "highest" (the default), exactly, or "high", of operands
    rounded to the 10 bits of TF32 on devices that are faster so. Of the process, like the choice of a library."""
    global _matmul_precision
    if precision not in ("highest", "high"):
        raise ArgumentError(f"set_matmul_precision: takes 'highest' or 'high', not {precision!r}")
    _matmul_precision = precision
    for door in _dispatchers.values():
        door.backend.set_matmul_precision(precision)


def get_matmul_precision() -> str:
    """What `set_matmul_precision` was last told."""
    return _matmul_precision


def dispatcher(device: Device) -> Dispatcher:
    """The door to a device, opened on first use."""
    return _dispatchers[device]


def index_dtype(device: Device) -> DType:
    """The type of indices, and of Python ints, on a device: int64, or int32 where it has none."""
    return int64 if int64 in dispatcher(device).backend.dtypes else int32


def run(device: Device, op: str, *args: Any) -> None:
    """Run any primitive: the general form of the functions below."""
    door = _dispatchers[device]
    key = _signature(op, args)
    plan = door.plans.get(key)
    if plan is None:
        plan = door.plans[key] = door.plan(op, args)
    if observers:
        observe(door, op, args, plan)
    else:
        plan(*args)


_NUMBERS = frozenset({int, float, bool, tuple})  # arguments that no way depends on


def _signature(op: str, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """What the way of a call depends on: its kind, and each operand's dtype and layout class."""
    key: list[Any] = [op]
    for arg in args:
        if isinstance(arg, View):
            key.append(arg.dtype if arg.layout.contiguous else (arg.dtype,))
        elif type(arg) in _NUMBERS:
            continue
        elif type(arg) is list:
            key.append(tuple([(view.dtype, view.layout.contiguous) for view in arg]))
        elif isinstance(arg, Kind):
            key.append(arg)
    return tuple(key)


def observe(door: Dispatcher, op: str, args: tuple[Any, ...], plan: Plan) -> None:
    """Run a plan between the observers' `before` and `after`."""
    call = Call(op, door.device, args, door.route(op, args)[0])
    watching = list(observers)
    tokens = [observer.before(call) for observer in watching]
    plan(*args)
    for observer, token in zip(watching, tokens, strict=True):
        observer.after(call, token)


def allocate(device: Device, nbytes: int) -> Any:
    """Memory on a device, of which a capture is told."""
    door = _dispatchers[device]
    buffer = door.backend.allocate(nbytes)
    if tracing.active is not None:
        tracing.active.allocated(buffer)
    return buffer


def offers(device: Device, op: str) -> bool:
    """Whether the device's backend has a primitive: one that does the work of two is used only where there is one."""
    door = _dispatchers[device]
    found = door.offers.get(op)
    if found is None:
        found = door.offers[op] = door.backend.implements(op)
    return found


def keeps_order(device: Device, op: str) -> bool:
    """Whether the device's kernel writes a result in the order of axes in which its operand lies."""
    return op in _dispatchers[device].backend.keeps_order


def unary(device: Device, kind: Unary, dst: View, x: View) -> None:
    door = _dispatchers[device]
    key = (kind, x.dtype, x.layout.contiguous, dst.layout.contiguous)
    plan = door.unary.get(key)
    if plan is None:
        plan = door.unary[key] = door.plan("unary", (kind, dst, x))
    if observers:
        observe(door, "unary", (kind, dst, x), plan)
    else:
        plan(kind, dst, x)


def binary(device: Device, kind: Binary, dst: View, a: View, b: View) -> None:
    door = _dispatchers[device]
    key = (kind, a.dtype, a.layout.contiguous, b.layout.contiguous, dst.layout.contiguous)
    plan = door.binary.get(key)
    if plan is None:
        plan = door.binary[key] = door.plan("binary", (kind, dst, a, b))
    if observers:
        observe(door, "binary", (kind, dst, a, b), plan)
    else:
        plan(kind, dst, a, b)


def binary_scalar(device: Device, kind: Binary, dst: View, x: View, scalar: float | int | bool, swapped: bool) -> None:
    door = _dispatchers[device]
    key = (kind, x.dtype, x.layout.contiguous, dst.layout.contiguous)
    plan = door.binary_scalar.get(key)
    if plan is None:
        plan = door.binary_scalar[key] = door.plan("binary_scalar", (kind, dst, x, scalar, swapped))
    if observers:
        observe(door, "binary_scalar", (kind, dst, x, scalar, swapped), plan)
    else:
        plan(kind, dst, x, scalar, swapped)


def copy(device: Device, dst: View, src: View) -> None:
    run(device, "copy", dst, src)


def cast(device: Device, dst: View, src: View) -> None:
    run(device, "cast", dst, src)


def where(device: Device, dst: View, condition: View, a: View, b: View) -> None:
    run(device, "where", dst, condition, a, b)


def reduce(device: Device, kind: Reduce, dst: View, x: View, rows: int, n: int) -> None:
    door = _dispatchers[device]
    key = ("reduce", kind, x.dtype, x.layout.contiguous, dst.layout.contiguous)
    plan = door.plans.get(key)
    if plan is None:
        plan = door.plans[key] = door.plan("reduce", (kind, dst, x, rows, n))
    if observers:
        observe(door, "reduce", (kind, dst, x, rows, n), plan)
    else:
        plan(kind, dst, x, rows, n)


def matmul(device: Device, dst: View, a: View, b: View, transpose_a: bool, transpose_b: bool) -> None:
    door = _dispatchers[device]
    key = ("matmul", a.dtype, a.layout.contiguous, b.layout.contiguous)
    plan = door.plans.get(key)
    if plan is None:
        plan = door.plans[key] = door.plan("matmul", (dst, a, b, transpose_a, transpose_b))
    if observers:
        observe(door, "matmul", (dst, a, b, transpose_a, transpose_b), plan)
    else:
        plan(dst, a, b, transpose_a, transpose_b)


def random(device: Device, kind: Random, dst: View, seed: int, offset: int) -> None:
    run(device, "random", kind, dst, seed, offset)


def sgd_step(
    device: Device, params: Sequence[View], grads: Sequence[View], velocities: Sequence[View],
    *, lr: float, momentum: float, dampening: float, weight_decay: float, nesterov: bool,
) -> None:  # fmt: skip
    run(device, "sgd_step", params, grads, velocities, lr, momentum, dampening, weight_decay, nesterov)


def adam_step(
    device: Device, params: Sequence[View], grads: Sequence[View], means: Sequence[View], squares: Sequence[View],
    *, lr: float, beta1: float, beta2: float, eps: float, weight_decay: float, decoupled: bool, step: int,
) -> None:  # fmt: skip
    run(device, "adam_step", params, grads, means, squares, lr, beta1, beta2, eps, weight_decay, decoupled, step)
