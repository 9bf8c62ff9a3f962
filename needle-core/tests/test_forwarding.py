"""`needle.nn`, `needle.optim` and `needle.data`: what they are with needle-nn, and what they say without it."""

import pytest
from site_folder import Site

HIDDEN = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "needle_nn":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name.partition(".")[0])
sys.meta_path.insert(0, Absent())
"""
PACKAGE = {
    "needle_nn/__init__.py": "",
    "needle_nn/nn/__init__.py": "from needle_nn.nn.linear import Linear\n__all__ = ['Linear']\nhidden = 1\n",
    "needle_nn/nn/linear.py": "class Linear: ...\n",
    "needle_nn/optim/__init__.py": "class SGD: ...\n__all__ = ['SGD']\n",
    "needle_nn/data/__init__.py": "import absent_library\n__all__ = []\n",
}


@pytest.mark.parametrize("name", ["nn", "optim", "data"])
def test_without_needle_nn(site: Site, name: str) -> None:
    text = f"needle.{name} is in 'needle-nn': pip install needle-nn"
    for program, error in [
        (f"import needle; needle.{name}", "AttributeError"),
        (f"from needle import {name}", "ModuleNotFoundError"),
        (f"import needle.{name}", "ModuleNotFoundError"),
        (f"from needle.{name} import anything", "ModuleNotFoundError"),
    ]:
        done = site.python("-c", f"{HIDDEN}{program}")
        assert done.returncode == 1
        assert done.stderr.splitlines()[-1] == f"{error}: {text}"


def test_without_needle_nn_all_else_works(site: Site) -> None:
    program = (
        f"{HIDDEN}import needle\nassert not hasattr(needle, 'nn')\nprint(needle.ones(2).sum().item(), dir(needle))"
    )
    assert site.run(program).startswith("2.0 ")


def test_with_needle_nn(site: Site) -> None:
    site.install("needle-nn", PACKAGE)
    program = """
        import sys
        import needle
        assert not [name for name in sys.modules if name.startswith("needle_nn")], "loaded before it is used"
        import needle_nn.nn
        from needle.nn import *
        assert Linear is needle.nn.Linear is needle_nn.nn.Linear
        assert needle.nn.__all__ == ["Linear"] and not hasattr(needle.nn, "hidden")
        import needle.optim
        print(needle.optim.SGD.__module__, {"nn", "optim", "data"} <= set(dir(needle)), "nn" in needle.__all__)
    """
    assert site.run(program) == "needle_nn.optim True False\n"


def test_a_broken_module_of_needle_nn_is_not_called_missing(site: Site) -> None:
    site.install("needle-nn", PACKAGE)
    for program in ("import needle; needle.data", "import needle.data"):
        done = site.python("-c", program)
        assert done.stderr.splitlines()[-1] == "ModuleNotFoundError: No module named 'absent_library'"
