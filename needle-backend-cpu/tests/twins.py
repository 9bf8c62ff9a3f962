"""The same arrays on the CPU device and on the NumPy reference, and a comparison of what an op makes of them."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from needle.backend import View
from needle.dtype import DType, as_dtype, bfloat16_from_float32, float32_from_bfloat16, numpy_dtype
from needle.layout import Layout
from needle.reference import NumpyBackend, elements
from needle_backend_cpu.backend import CpuBackend

CPU, REFERENCE = CpuBackend(), NumpyBackend()
RTOL = {"float64": 1e-12, "float32": 2e-6, "float16": 2e-3, "bfloat16": 1.6e-2}
DTYPES = ("bool", "uint8", "int8", "int32", "int64", "float16", "bfloat16", "float32", "float64")
FLOATS = DTYPES[5:]
LAYOUTS = ("compact", "offset", "permuted", "sliced", "flipped", "broadcast")


@dataclass
class Twin:
    """One array as a view on each device; `view(backend)` gives them."""

    cpu: View
    reference: View

    def numpy(self, backend: Any) -> Any:
        """Its elements on one device; float32 for bfloat16."""
        view = self.cpu if backend is CPU else self.reference
        if backend is CPU:
            host = REFERENCE.allocate(view.buffer.nbytes)
            CPU.download(view.buffer, 0, memoryview(host.raw))
            view = View(host, view.layout, view.dtype)
        values = elements(view).copy()
        return float32_from_bfloat16(values) if view.dtype == "bfloat16" else values


def twin(values: Any, dtype: str, layout: str = "compact") -> Twin:
    """The values in a buffer of both devices, laid out as the name says."""
    target = as_dtype(dtype)
    with np.errstate(all="ignore"):
        array = np.asarray(values).astype(np.float32 if dtype == "bfloat16" else numpy_dtype(target))
    bits = bfloat16_from_float32(array) if dtype == "bfloat16" else array
    stored, place = arrange(bits, layout)
    return Twin(*(View(_uploaded(b, stored), place, target) for b in (CPU, REFERENCE)))


def arrange(array: Any, layout: str) -> tuple[Any, Layout]:
    """What lies in memory, and the layout by which it is `array` (or, if broadcast, its first rows repeated)."""
    shape, rank = array.shape, array.ndim
    if layout == "offset":
        return np.concatenate([np.zeros(7, array.dtype), array.reshape(-1)]), Layout(
            shape, Layout.compact(shape).strides, 7
        )
    if layout == "permuted":
        turned = np.ascontiguousarray(array.transpose())
        return turned, Layout.compact(turned.shape).permute(tuple(range(rank))[::-1])
    if layout == "sliced":
        wide = np.zeros((*shape[:-1], 2 * shape[-1] + 3), array.dtype)
        wide[..., 2 : 2 + 2 * shape[-1] : 2] = array
        return wide, Layout.compact(wide.shape).slice(rank - 1, 2, 2, shape[-1])
    if layout == "flipped":
        return np.ascontiguousarray(np.flip(array)), Layout.compact(shape).flip(tuple(range(rank)))
    if layout == "broadcast":
        return np.ascontiguousarray(array[:1]), Layout.compact((1, *shape[1:])).broadcast_to(shape)
    return np.ascontiguousarray(array), Layout.compact(shape)


def _uploaded(backend: Any, array: Any) -> Any:
    raw = np.frombuffer(array.tobytes(), np.uint8)
    buffer = backend.allocate(raw.size)
    backend.upload(buffer, 0, memoryview(raw))
    return buffer


def result(shape: tuple[int, ...], dtype: str | DType) -> Twin:
    """A contiguous array for a result, full of 7 so that what is not written shows."""
    return twin(np.full(shape, 7), str(dtype))


def run(op: str, *args: Any) -> None:
    """Call a method of both devices; a Twin, or a list of them, stands for the device's view."""
    for backend in (CPU, REFERENCE):
        getattr(backend, op)(*(_on(backend, a) for a in args))


def _on(backend: Any, arg: Any) -> Any:
    if isinstance(arg, Twin):
        return arg.cpu if backend is CPU else arg.reference
    return [_on(backend, a) for a in arg] if isinstance(arg, list) else arg


def assert_same(twin: Twin, about: object = "", rtol: float | None = None, atol: float | None = None) -> None:
    """Both devices hold the same elements, within the dtype's tolerance; NaN and infinities in the same places."""
    dtype = str(twin.cpu.dtype)
    tolerance = RTOL.get(dtype, 0.0) if rtol is None else rtol
    found, wanted = twin.numpy(CPU), twin.numpy(REFERENCE)
    smallest = 0.0 if atol is None else atol
    with np.errstate(invalid="ignore"):  # signalling NaN among the halves
        if dtype in FLOATS:
            found, wanted = found.astype(np.float64), wanted.astype(np.float64)
        np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=smallest, err_msg=str(about))
