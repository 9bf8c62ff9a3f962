"""These tests see the course's face: `NEEDLE_COURSE=1 pytest tests/course`, with NEEDLE_BACKEND=np or nd.

Under Needle's own face they are left out; `test_course.py` beside this folder runs them in processes of their own.
"""

import numpy as np
import pytest

from needle import course

collect_ignore_glob = [] if course.ENABLED else ["test_*.py"]


@pytest.fixture(autouse=True)
def seeded() -> None:
    np.random.seed(0)
