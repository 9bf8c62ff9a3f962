"""The names of `needle` that mean something else under NEEDLE_COURSE=1, or are there only then."""

from typing import Any

from needle import course, functions

if course.ENABLED:
    from needle import backend_ndarray, backend_selection, course_ops
    from needle.course_tensor import TensorTuple

_SELECTED = (
    "BACKEND", "Device", "NDArray", "all_devices", "array_api", "cpu", "cpu_numpy", "cuda", "default_device", "mps",
    "msl",
)  # fmt: skip


def split(a: Any, *args: Any, **options: Any) -> Any:
    """`split(a, axis)` as the course's, into slices; with a further argument as Needle's, into sections."""
    of_course = len(args) + len(options) == 1 and options.keys() <= {"axis"}
    return (course_ops.split if of_course else functions.split)(a, *args, **options)


def _names() -> dict[str, Any]:
    ops = {name: getattr(course_ops, name) for name in course_ops.__all__}
    selected = {name: getattr(backend_selection, name) for name in _SELECTED}
    modules = {"backend_ndarray": backend_ndarray, "backend_selection": backend_selection}
    return {**ops, **selected, **modules, "TensorTuple": TensorTuple, "split": split}


NAMES = _names() if course.ENABLED else {}
