"""The Tensor that users see: Needle's own, or, under NEEDLE_COURSE=1, the course's. The choice is made here alone."""

from typing import TYPE_CHECKING

import numpy as np

from needle import course, random
from needle.device import Device
from needle.ndarray import NDArray, from_numpy
from needle.shape import Shape, as_shape

if TYPE_CHECKING or not course.ENABLED:
    from needle.tensor import Tensor as Tensor
else:
    from needle.course_tensor import Tensor as Tensor


class NumpyGenerator(random.Generator):
    """NumPy's global generator in the place of Needle's: `np.random.seed(0)` is then all that a run depends on."""

    def uniform(self, shape: int | Shape, device: Device | str | None = None) -> NDArray:
        """In [0, 1), rounded to float32."""
        return from_numpy(np.random.rand(*as_shape(shape)), device, "float32")

    def normal(self, shape: int | Shape, device: Device | str | None = None) -> NDArray:
        """Of mean 0 and variance 1, rounded to float32."""
        return from_numpy(np.random.randn(*as_shape(shape)), device, "float32")


if course.ENABLED:
    random.draw_from(NumpyGenerator())
