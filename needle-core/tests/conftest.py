"""Distributions installed for one test, in a folder of their own, and fresh interpreters that find them there."""

from collections.abc import Callable
from pathlib import Path

import pytest
from site_folder import Site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "site")


@pytest.fixture
def device_plugin() -> Callable[..., str]:
    """The text of a good plug-in module, with parts that a test may replace."""

    def text(name: str, info: str = "", probe: str = "Probe(('the first', 'the second'))", create: str = "") -> str:
        return f"""
from needle.backend import BackendInfo, Probe, hookimpl
from needle.dtype import bool_, float32, int32
from needle.reference import NumpyBackend

class Small(NumpyBackend):
    dtypes = frozenset([bool_, float32, int32])

@hookimpl
def needle_backend_info():
    return {info or f"BackendInfo({name!r}, priority=-1)"}

@hookimpl
def needle_probe():
    return {probe}

@hookimpl
def needle_create_backend(index):
    return {create or "NumpyBackend()"}
"""

    return text
