"""The device, or a reason to skip: on macOS there is a GPU, on Linux perhaps the simulator."""

import ctypes
from importlib.util import find_spec
from pathlib import Path

import pytest

import needle as ndl


@pytest.fixture(scope="session")
def device():
    if find_spec("needle_backend_msl._ext") is None:
        pytest.skip("needle-backend-msl was installed without its extension")
    return ndl.msl()


@pytest.fixture
def backend(device):
    """The backend itself, as core calls it."""
    from needle_backend_msl.backend import MslBackend  # noqa: PLC0415  (not on every system)

    return MslBackend()


@pytest.fixture
def simulator(device):
    """The simulator's own counters."""
    from needle_backend_msl import _ext  # noqa: PLC0415  (not on every system)

    path = Path(_ext.__file__).with_name("libmetalsim.so")
    if not path.is_file():
        pytest.skip("this is a real GPU")
    return ctypes.CDLL(str(path))
