"""Composed defaults on a device that has the required functions alone: their work, and what they may not depend on."""

from collections.abc import Callable

import numpy as np
import pytest
from site_folder import Site

import needle

Plugin = Callable[..., str]

REQUIRED = """
from needle.backend import Backend
class Bare(Backend):
    dtypes, strided = NumpyBackend.dtypes, frozenset({"copy"})
    kernels = []
    allocate, upload, download = NumpyBackend.allocate, NumpyBackend.upload, NumpyBackend.download
    synchronize = NumpyBackend.synchronize
def counting(op):
    def kernel(self, *args):
        self.kernels.append((op, max(view.size for view in args if hasattr(view, "size"))))
        getattr(NumpyBackend, op)(self, *args)
    return kernel
for op in ("copy", "cast", "unary", "binary", "where", "reduce"):
    setattr(Bare, op, counting(op))
"""

PROGRAM = """
import numpy as np
import needle
from needle.dispatch import dispatcher
needle.set_fallback("silent")
device = needle.bare()
kernels = dispatcher(device).backend.kernels
rng = np.random.default_rng(0)
n, inner, m = 4001, 32, 50
values, index = rng.standard_normal((n, inner)).astype("float32"), rng.integers(0, n, m)
table = needle.tensor(values, device=device, requires_grad=True)
picked = needle.tensor(index, device=device)
kernels.clear()
rows = needle.gather(table, picked.reshape(m, 1), 0)
assert (rows.numpy() == values[index]).all()
assert sum(size for _, size in kernels) < 10 * m * inner, kernels  # and not m * n * inner
(rows * rows).sum().backward()
wanted = np.zeros_like(values)
np.add.at(wanted, index, 2 * values[index])
np.testing.assert_allclose(table.grad.numpy(), wanted, rtol=1e-6)
try:
    needle.gather(table, needle.tensor([[n]], device=device), 0)
except needle.IndexRangeError as error:
    print(error)
"""

COMPILED = """
import numpy as np
import needle
needle.set_fallback("silent")
device = needle.bare()
values = np.random.default_rng(0).standard_normal((4001, 32)).astype("float32")
table = needle.tensor(values, device=device)
rows = needle.compile(lambda index: needle.gather(table, index, 0) * 2)
for index in ([[5], [4000]], [[7], [0]], [[1], [1]]):
    found = rows(needle.tensor(index, device=device)).numpy()
    assert (found == 2 * values[np.array(index)[:, 0]]).all(), index
"""


@pytest.fixture
def bare(site: Site, device_plugin: Plugin) -> Site:
    site.backend("bare", device_plugin("bare", create="Bare()") + REQUIRED)
    return site


def test_gather_and_scatter_add_from_a_long_table_are_linear(bare: Site) -> None:
    assert bare.run(PROGRAM) == "gather: index 4001 is out of range for size 4001\n"


def test_a_compiled_gather_does_not_keep_the_indices(bare: Site) -> None:
    bare.run(COMPILED)


@pytest.mark.parametrize("power", [0.5, -0.5, 2.0, 3.0, 0.0])
def test_powers_by_a_number_are_those_of_ieee(power: float) -> None:
    """Where NumPy takes a square root for 0.5, which differs at -inf and -0.0."""
    x = np.array([-np.inf, -0.0, 0.0, np.inf, 4.0], "float32")
    found = (needle.tensor(x, device="numpy") ** power).numpy()
    with np.errstate(all="ignore"):
        wanted = np.power(x, np.full(5, power, "float32"))
    np.testing.assert_array_equal(found, wanted)
    assert (np.signbit(found) == np.signbit(wanted)).all()
