"""Apache TVM as a compiler of Needle's graphs: `needle.compile(fn, compiler="tvm")`.

`module(fn, *args)` gives the Relax module of a function; `fuse`, `schedule`, `tune` and `build` take it from there.
"""

from needle_tvm.front import module
from needle_tvm.pipeline import build, fuse, schedule, tune
from needle_tvm.translate import Translation, to_relax

__all__ = ["Translation", "build", "fuse", "module", "schedule", "to_relax", "tune"]
__version__ = "0.1.0"
