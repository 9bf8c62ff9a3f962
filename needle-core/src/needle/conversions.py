"""How a Tensor becomes what others know: NumPy's arrays, Python's numbers, arrays of other libraries."""

from typing import Any

from needle.ndarray import NDArray


class Conversions:
    """The methods of Tensor that hand its elements over, without gradients."""

    __slots__ = ()
    array: NDArray

    def numpy(self) -> Any:
        """A NumPy array with a copy of the elements (bfloat16 as float32). Waits for the device."""
        return self.array.numpy()

    def item(self) -> Any:
        """The one element as a Python number. Waits for the device."""
        return self.array.item()

    def tolist(self) -> Any:
        return self.array.tolist()

    def __float__(self) -> float:
        return float(self.array)

    def __int__(self) -> int:
        return int(self.array)

    def __bool__(self) -> bool:
        return bool(self.array)

    def __index__(self) -> int:
        return self.array.__index__()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return self.array.__array__(dtype, copy)

    def __dlpack__(self, **options: Any) -> Any:
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.array.__dlpack_device__()
