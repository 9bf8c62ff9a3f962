"""How a Tensor becomes what others know: NumPy's arrays, Python's numbers, arrays of other libraries."""

from collections.abc import Callable
from typing import Any

import numpy as np

from needle.ndarray import NDArray

# NumPy's functions that Needle has as well; numpy_functions.py fills it.
NUMPY_FUNCTIONS: dict[Any, Callable[..., Any]] = {}


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

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        own = NUMPY_FUNCTIONS.get(function)
        return _OF_NUMPY(function, (), args, kwargs) if own is None else own(*args, **kwargs)

    def __dlpack__(self, **options: Any) -> Any:
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.array.__dlpack_device__()


_OF_NUMPY = np.empty(0).__array_function__  # what NumPy does with arrays of its own
