"""Kernel: one row about one primitive of the protocol, called with views of every layout and guarded all around."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from needle.backend import View
from needle.device import Device
from needle.dispatch import dispatcher, observe, observers
from needle.dtype import DType, as_dtype, bfloat16, float32_from_bfloat16
from needle.ndarray import NDArray, from_bits, from_numpy
from needle.reference import NumpyBackend
from needle.registry import BUILT_IN, registry
from needle.registry import device as as_device
from needle.testing import assert_close, stored
from needle_conformance.inputs import seed_of


@dataclass(eq=False)
class Operand:
    """An argument that is a view: what it holds before the call, and how that lies in memory.

    One object that stands twice among the arguments is one view: an update in place.
    """

    values: Any
    dtype: DType
    layout: str = "compact"
    written: bool = False

    def __post_init__(self) -> None:
        self.dtype = as_dtype(self.dtype)


Arguments: TypeAlias = list[Any]  # in the order of the backend's method: operands, lists of them, plain values


@dataclass(frozen=True)
class Kernel:
    """What is known of a primitive (and kind): the calls to try, in which dtypes and layouts."""

    name: str
    op: str
    calls: Callable[["KernelTrial"], Iterable[Arguments]]
    dtypes: Sequence[DType]
    layouts: Sequence[str]
    needs: str | None = None  # a dtype without which the row does not apply
    exact: bool = False  # floats are computed in their own type and must be equal, else in float64 and near
    signed_zero: bool = False
    rtol: Mapping[str, float] = field(default_factory=dict)
    atol: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class KernelTrial:
    """`exp[float32-in_place]` on a device; its operands depend on this name alone."""

    kernel: Kernel
    device: Device
    dtype: DType
    layout: str

    def __str__(self) -> str:
        return f"{self.kernel.name}[{self.dtype}-{self.layout}]"

    @property
    def seed(self) -> int:
        return seed_of(f"kernel {self}")

    def rng(self) -> np.random.Generator:
        return np.random.default_rng(self.seed)

    def available(self, dtypes: Iterable[DType]) -> list[DType]:
        """Those of the dtypes that the device has."""
        return [d for d in dtypes if d in dispatcher(self.device).backend.dtypes]

    def check(self) -> None:
        """Assert for each call that results are right, and that no other element was written."""
        called = False
        for args in self.kernel.calls(self):
            self.check_call(args)
            called = True
        assert called, f"{self} has no call, so that nothing was tried"

    def check_call(self, args: Arguments) -> None:
        """The same of one call."""
        expected, about = self._expected(args), _described(args)
        placed = {id(x): _Placed(x, self.device) for x in operands(args)}
        self._run([mapped(arg, lambda x: placed[id(x)].view) for arg in args])
        for x in operands(args):
            placed[id(x)].check_surroundings(about)
            if x.written:
                self._compare(x, placed[id(x)].elements(), expected[id(x)], about)

    def placed_calls(self) -> list[Callable[[], None]]:
        """Each call with its operands on the device, to be run as often as one likes."""
        return [self._placed_call(args) for args in self.kernel.calls(self)]

    def _placed_call(self, args: Arguments) -> Callable[[], None]:
        views = {id(x): _Placed(x, self.device).view for x in operands(args)}
        plan, ready = self._planned([mapped(arg, lambda x: views[id(x)]) for arg in args])
        return partial(plan, *ready)

    def _planned(self, args: Arguments) -> tuple[Callable[..., None], Arguments]:
        """The backend's method itself if it takes operands of these layouts, else what dispatch would run."""
        door = dispatcher(self.device)
        _, plan = door.route(self.kernel.op, tuple(args))
        if plan == getattr(door.backend, self.kernel.op):
            args = [mapped(arg, lambda v: View(v.buffer, v.layout, v.dtype)) for arg in args]
        return plan, args

    def _run(self, args: Arguments) -> None:
        plan, ready = self._planned(args)
        if observers:
            observe(dispatcher(self.device), self.kernel.op, tuple(ready), plan)
        else:
            plan(*ready)

    def _expected(self, args: Arguments) -> dict[int, Any]:
        """What the reference makes of the operands, in float64 unless the kernel is exact."""
        host = as_device(BUILT_IN)
        arrays = {id(x): from_numpy(x.values, host, self._computed(x.dtype)) for x in operands(args)}
        with np.errstate(all="ignore"):
            getattr(_REFERENCE, self.kernel.op)(*(mapped(arg, lambda x: arrays[id(x)]) for arg in args))
        return {key: array.numpy() for key, array in arrays.items()}

    def _computed(self, dtype: DType) -> DType:
        return as_dtype("float64") if dtype.is_float and not self.kernel.exact else dtype

    def _compare(self, x: Operand, found: Any, expected: Any, about: str) -> None:
        asked = registry.conformance_profile(self.device.backend).rtol.get((self.kernel.name, str(x.dtype)))
        rtol = 0.0 if self.kernel.exact else self.kernel.rtol.get(x.dtype) if asked is None else asked
        atol = 0.0 if self.kernel.exact else self.kernel.atol.get(x.dtype)
        assert_close(found, expected, dtype=x.dtype, rtol=rtol, atol=atol, about=about)
        if self.kernel.signed_zero and x.dtype.is_float:
            zero = expected == 0
            assert (np.signbit(found[zero]) == np.signbit(expected[zero])).all(), f"{about}a zero has the wrong sign"

    def script(self) -> str:
        """Python that runs the trial again."""
        first = next(iter(self.kernel.calls(self)), [])
        return "\n".join([
            f"# kernel {self} on {self.device}, seed {self.seed}; its first call:",
            *(f"#   {line}" for line in described(first)),
            "from needle_conformance.kernels import trial",
            f"t = trial({self.kernel.name!r}, '{self.device}', '{self.dtype}', {self.layout!r})",
            "for args in t.kernel.calls(t):",
            "    print(args)",
            "t.check()",
        ])  # fmt: skip


class _Placed:
    """An operand on the device, and the whole buffer in which it lies."""

    def __init__(self, x: Operand, device: Device) -> None:
        self.bits, self.layout = stored(x.values, x.layout, x.dtype)
        self.buffer = from_bits(self.bits, x.dtype, device)
        self.view: NDArray = self.buffer.viewed(self.layout)
        self.written = x.written

    def elements(self) -> Any:
        """What the view holds now (bfloat16 as float32)."""
        bits = self._seen(self.buffer.host_bits())
        return float32_from_bfloat16(bits) if self.view.dtype is bfloat16 else bits

    def _seen(self, flat: Any) -> Any:
        """The elements of a flat array that the layout shows."""
        strides = tuple(s * flat.itemsize for s in self.layout.strides)
        offset = self.layout.offset * flat.itemsize if self.layout.size else 0
        return np.array(np.ndarray(self.layout.shape, flat.dtype, flat, offset, strides))

    def check_surroundings(self, about: str) -> None:
        """Assert that what was not to be written is as it was."""
        outside = np.ones(self.bits.size, bool)
        if self.written:
            outside[self._seen(np.arange(self.bits.size)).reshape(-1)] = False
        same = self.buffer.host_bits().view(np.uint8) == self.bits.view(np.uint8)
        changed = np.flatnonzero(outside & ~same.reshape(-1, self.bits.itemsize).all(1))
        role = "around the result" if self.written else "of an operand"
        assert not changed.size, f"{about}element {changed[0]} {role} was written; the view is {self.layout}"


_REFERENCE = NumpyBackend()


def operands(args: Arguments) -> list[Operand]:
    """All that are views, each once."""
    flat = [x for arg in args for x in (arg if isinstance(arg, list) else [arg]) if isinstance(x, Operand)]
    return list({id(x): x for x in flat}.values())


def mapped(arg: Any, f: Callable[[Any], Any]) -> Any:
    """The argument with each view in it replaced."""
    if isinstance(arg, list):
        return [f(x) for x in arg]
    return f(arg) if isinstance(arg, Operand | View) else arg


def _described(args: Arguments) -> str:
    shapes = [f"{x.dtype}{tuple(np.shape(x.values))}" for x in operands(args)]
    plain = [repr(arg) for arg in args if not isinstance(arg, Operand | list)]
    return f"({', '.join([*plain, *shapes])}): "


def described(args: Arguments) -> list[str]:
    """A line for each view: its role, dtype, shape, strides and offset."""
    lines = []
    for x in operands(args):
        _, view = stored(x.values, x.layout, x.dtype)
        role = "written" if x.written else "read"
        lines.append(f"{role}: {x.dtype} {view.shape}, strides {view.strides}, offset {view.offset}")
    return lines
