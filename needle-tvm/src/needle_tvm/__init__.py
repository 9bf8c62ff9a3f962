"""Apache TVM as a compiler of Needle's graphs: `needle.compile(fn, compiler="tvm")`.

`to_relax(graph)` gives the Relax module of a captured graph; `pipeline` fuses, schedules, tunes and builds it.
"""

from needle_tvm import pipeline
from needle_tvm.translate import Translation, to_relax

__all__ = ["Translation", "pipeline", "to_relax"]
__version__ = "0.1.0"
