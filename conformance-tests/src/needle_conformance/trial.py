"""One row on one device, in one dtype and layout: its operands, its result, and what that should be."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from needle.device import Device
from needle.dispatch import dispatcher
from needle.dtype import DType, as_dtype
from needle.registry import BUILT_IN, registry
from needle.registry import device as as_device
from needle.tensor import Tensor
from needle.testing import arrange, assert_close, rounded
from needle_conformance.case import BASE, Case, Options
from needle_conformance.inputs import seed_of

SMALL = (2, 3)  # the shape of operands whose gradients are found by differences


@dataclass(frozen=True)
class Trial:
    """`exp[float32-permuted]` on a device; its operands depend on this name alone."""

    case: Case
    device: Device
    dtype: DType
    layout: str

    def __str__(self) -> str:
        return f"{self.case.name}[{self.dtype}-{self.layout}]"

    @property
    def seed(self) -> int:
        return seed_of(str(self))

    def values(self, small: bool = False) -> list[Any]:
        """The operands in NumPy."""
        rng = np.random.default_rng(self.seed)
        return self.case.draw(rng, self.dtype, self.layout, SMALL if small else BASE)

    def dtype_of(self, i: int) -> DType:
        fixed = self.case.inputs[i].dtype
        return self.dtype if fixed is None else as_dtype(fixed)

    def tensors(self, values: list[Any], device: Device | str | None = None, dtype: Any = None) -> list[Tensor]:
        """The operands on a device (this one, in the row's dtype, unless others are given)."""
        target = self.device if device is None else as_device(device)
        dtypes = [dtype if dtype and x.free else self.dtype_of(i) for i, x in enumerate(self.case.inputs)]
        return [
            Tensor(arrange(v, self.case.arrangement(self.layout, i), dtypes[i], target)) for i, v in enumerate(values)
        ]

    def expected(self, values: list[Any], options: Options) -> list[Any]:
        """What the row says of these operands, in float64 or ints."""
        wide = [self._widened(v, i) for i, v in enumerate(values)]
        with np.errstate(all="ignore"):
            return outputs(self.case.expected(*wide, **options))

    def _widened(self, values: Any, i: int) -> Any:
        dtype = self.dtype_of(i)
        if dtype.is_float:
            return np.asarray(values, np.float64)
        if self.case.gives == "float" and self.case.inputs[i].free:
            return rounded(values, "float32").astype(np.float64)
        if self.case.gives == "sum":
            return np.asarray(values, str(self.index_dtype))
        return values

    @cached_property
    def index_dtype(self) -> DType:
        return index_dtype(self.device)

    @property
    def result_dtype(self) -> DType:
        gives = self.case.gives
        if gives == "index" or (gives == "sum" and not self.dtype.is_float):
            return self.index_dtype
        if gives == "float":
            return self.dtype if self.dtype.is_float else as_dtype("float32")
        return self.dtype if gives in ("same", "sum") else as_dtype(gives)

    def tolerance(self) -> dict[str, float | None]:
        """The row's tolerances, or those that the backend asks for, or None for the dtype's."""
        dtype = self.result_dtype
        asked = registry.conformance_profile(self.device.backend).rtol
        if self.case.exact:
            return {"rtol": 0.0, "atol": 0.0}
        rtol = asked.get((self.case.name, str(dtype)), self.case.rtol.get(str(dtype)))
        return {"rtol": rtol, "atol": self.case.atol.get(str(dtype))}

    def check(self) -> None:
        """Assert that values, shapes and dtypes are what the row says."""
        values = self.values()
        for options in self.case.options:
            self.check_call(values, options)

    def check_call(self, values: list[Any], options: Options) -> None:
        """The same of one call, with these operands and keyword arguments."""
        found = outputs(self.case.function(*self.tensors(values), **options))
        wanted = self.expected(values, options)
        assert len(found) == len(wanted), f"{len(found)} results, expected {len(wanted)}"
        for actual, expected in zip(found, wanted, strict=True):
            self._compare(actual, expected, f"{dict(options)}: " if options else "")

    def _compare(self, actual: Tensor, expected: Any, about: str) -> None:
        assert actual.dtype == self.result_dtype, f"{about}dtype is {actual.dtype}, expected {self.result_dtype}"
        assert actual.device is self.device, f"{about}the result is on {actual.device}, not on {self.device}"
        host = actual.numpy()
        assert_close(host, expected, dtype=self.result_dtype, about=about, **self.tolerance())
        if self.case.signed_zero and self.result_dtype.is_float:
            zero = np.asarray(expected) == 0
            same = np.signbit(host[zero]) == np.signbit(np.asarray(expected)[zero])
            assert same.all(), f"{about}a zero has the wrong sign"

    def script(self) -> str:
        """Python that runs the trial again."""
        return "\n".join([
            f"# {self} on {self.device}, seed {self.seed}:",
            *self.described(self.values()),
            "from needle_conformance.cases import trial",
            f"t = trial({self.case.name!r}, '{self.device}', '{self.dtype}', {self.layout!r})",
            "values = t.values()",
            "for options in t.case.options:",
            "    print(options, t.case.function(*t.tensors(values), **options), t.expected(values, options))",
            "t.check()",
        ])  # fmt: skip

    def described(self, values: list[Any]) -> list[str]:
        """A comment for each operand: its dtype, shape, strides and offset."""
        lines = []
        for i, (v, x) in enumerate(zip(values, self.tensors(values, BUILT_IN), strict=True)):
            strides, offset = x.array.strides, x.array.offset
            lines.append(f"# operand {i}: {self.dtype_of(i)} {np.shape(v)}, strides {strides}, offset {offset}")
        return lines


def outputs(result: Any) -> list[Any]:
    """The results of a function that gives one, or several."""
    return list(result) if isinstance(result, tuple | list) else [result]


def index_dtype(device: Device) -> DType:
    """The type of positions and integer sums: int64, or int32 where the device has none."""
    return as_dtype("int64" if "int64" in dispatcher(device).backend.dtypes else "int32")


def trials(cases: list[Case], device: Device) -> Iterator[Trial]:
    """Every row in every dtype and layout."""
    available = dispatcher(device).backend.dtypes
    for case in cases:
        for dtype in case.dtypes(available):
            for layout in case.all_layouts():
                yield Trial(case, device, dtype, layout)
