"""The device, or a reason to skip: on macOS there is a GPU, on Linux perhaps the simulator."""

import ctypes
import importlib
from importlib.util import find_spec
from pathlib import Path

import pytest

import needle as ndl


@pytest.fixture(scope="session")
def device():
    if find_spec("needle_backend_mps._ext") is None:
        pytest.skip("needle-backend-mps was installed without its extension")
    return ndl.mps()


@pytest.fixture
def backend(device):
    """The backend itself, as core calls it."""
    return importlib.import_module("needle_backend_mps.backend").MpsBackend()


@pytest.fixture
def mps(device):
    """The extension."""
    return importlib.import_module("needle_backend_mps._ext")


@pytest.fixture
def msl(device):
    """The extension whose memory and queue this one shares."""
    return importlib.import_module("needle_backend_msl._ext")


@pytest.fixture
def simulator(msl):
    """The simulator's own counters."""
    path = Path(msl.__file__).with_name("libmetalsim.so")
    if not path.is_file():
        pytest.skip("this is a real GPU")
    library = ctypes.CDLL(str(path))
    library.metalsim_live_objects.restype = ctypes.c_long
    return library
