"""A device whose memory TVM shares."""

from typing import Any

import pytest

import needle as ndl


@pytest.fixture
def device() -> Any:
    return ndl.device("cpu")
