"""Loads NVIDIA's libraries from their wheels before the extension asks for them.

Installed beside the wheels, the extension finds them by itself; in an editable install, or where the environment has
several folders of packages, it does not.
"""

import ctypes
import sys
from pathlib import Path

_NEEDED = ("cu13/lib/libcublasLt.so.13", "cudnn/lib/libcudnn.so.9")


def load() -> None:
    """Load what is found; what is not is left to the system's loader, whose error names it."""
    for name in _NEEDED:
        load_one(name)


def load_one(name: str) -> ctypes.CDLL | None:
    """The library of that name under `nvidia` in some folder of packages, or None."""
    for folder in sys.path:
        library = Path(folder, "nvidia", name)
        if library.exists():
            return ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
    return None
