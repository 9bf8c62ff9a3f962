"""Compilers that other packages bring are found by name, given the graph and their options; a broken one is told."""

import pytest
from site_folder import Site

THEIRS = """
from needle.program.plan import Execution

OPTIONS = ("level",)
PASSES = ("dead_code",)

def execution(graph, level=1):
    print(level, [node.name for node in graph.nodes])
    return Execution(graph)
"""

PROGRAM = """
import needle as ndl

try:
    compiled = ndl.compile(lambda x: (x * 2 + 1).relu(), compiler="theirs"{options})
    x = ndl.tensor([-1.0, 3.0])
    print(compiled(x).tolist() == compiled(x).tolist() == [0, 7])
except ndl.NeedleError as error:
    print(f"{{type(error).__name__}}: {{error}}")
"""


def run(site: Site, options: str = "", module: str = THEIRS) -> str:
    site.install("needle-theirs", {"theirs.py": module}, "[needle.compilers]\ntheirs = theirs\n")
    return site.run(PROGRAM.format(options=options), NEEDLE_DEVICE="numpy").strip()


def test_a_compiler_gets_the_graph_and_its_options(site: Site) -> None:
    nodes = "['mul', 'add', 'relu']"
    assert run(site, ", level=3") == f"3 {nodes}\nTrue"


@pytest.mark.parametrize(
    ("options", "module", "text"),
    [
        (", depth=3", THEIRS, "ArgumentError: compile: no option 'depth'; theirs takes level"),
        ("", "import not_there", "BackendError: compile: the compiler 'theirs' cannot be loaded: ModuleNotFoundError: "
         "No module named 'not_there'"),
    ],
)  # fmt: skip
def test_errors(site: Site, options: str, module: str, text: str) -> None:
    assert run(site, options, module) == text


def test_it_is_not_loaded_before_it_is_asked_for(site: Site) -> None:
    site.install("needle-theirs", {"theirs.py": "raise SystemExit(3)"}, "[needle.compilers]\ntheirs = theirs\n")
    assert site.run(
        "import needle; print(needle.compile(lambda x: x + 1)(needle.ones(2, device='numpy')).tolist())"
    ) == ("[2.0, 2.0]\n")


def test_a_damaged_distribution_hides_no_other(site: Site) -> None:
    site.install("needle-broken", {}, "[needle.compilers]\nno entry at all\n")
    assert run(site).endswith("True")
