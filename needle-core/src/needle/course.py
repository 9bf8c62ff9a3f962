"""The switch to the habits of CMU 10-714's Needle, which its homework and notebooks are written for.

`NEEDLE_COURSE=1`, read here and nowhere else when Needle is imported, changes what contradicts Needle's defaults:

- `Tensor(array)` requires a gradient; `requires_grad` stands on every value, integers in np mode too.
- `backward()` starts from ones of any shape, overwrites the `.grad` of every value it passes, and keeps the graph:
  gradients are Tensors with a graph of their own.
- A Tensor has `op`, `inputs`, `cached_data`; `==` is identity; `is_leaf()` and `data` are as in the course, and
  `a - b` is `a + (-b)`. What needs no gradient has no graph behind it, and `TENSOR_COUNTER` counts all that live.
- `needle.rand`, `randn`, `randb`, and with them Dropout, draw from NumPy's global generator.
- Functions whose names the two share, such as `needle.split(x, axis)`, mean what they mean in the course. What only
  Needle's take (`keepdims`, a third argument of `split`) they pass on.
- Devices make arrays (`needle.cpu().zeros(2, 3)`), and `needle.cuda()` exists without CUDA, as not `enabled()`.

`NEEDLE_BACKEND` then chooses what lies in a Tensor: "nd", the default, float32 arrays of `needle.backend_ndarray`
on any device; "np", NumPy arrays, whose float64 and integers are kept.

Without the switch, `needle.ops` and `needle.backend_ndarray` still offer the course's names, over Needle's Tensor.

How it is built: `face.py` chooses the class `Tensor`, and what the course's Tensor does otherwise is in its own class,
`course_autograd.py`. Needle's ops and layers reach it by the methods that every Tensor has (`_apply`, `like`).
"""

import os
from typing import Final

from needle.errors import BackendError

ENABLED: Final = os.environ.get("NEEDLE_COURSE", "") not in ("", "0")
BACKEND: Final = (os.environ.get("NEEDLE_BACKEND") or "nd") if ENABLED else "nd"

if BACKEND not in ("np", "nd"):
    raise BackendError(f"NEEDLE_BACKEND is {BACKEND!r}; it is np or nd")
NUMPY: Final = BACKEND == "np"
