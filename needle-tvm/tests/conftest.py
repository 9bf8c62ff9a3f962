"""A device whose memory TVM shares."""

from typing import Any

import needle as ndl
import pytest


@pytest.fixture
def device() -> Any:
    return ndl.device("cpu")
