"""The simulated MPS declares what Apple documents, and needle-backend-mps calls nothing newer than it may."""

import re
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
FRAMEWORKS = HERE.parent / "frameworks"
BACKEND = HERE.parent.parent / "needle-backend-mps"
HEADERS = ("MetalPerformanceShaders", "MetalPerformanceShadersGraph")
SINCE = (13, 0)  # the oldest macOS that the backend runs on


def documented():
    """Selectors, with their release, and values of enumerations."""
    selectors, values = {}, {}
    for line in (HERE / "documented" / "mps.txt").read_text().splitlines():
        parts = line.split()
        if line.startswith("#"):
            continue
        if parts[1] == "=":
            values[parts[0]] = int(parts[2])
        else:
            selectors[tuple(parts[:3])] = tuple(int(number) for number in parts[3].split("."))
    return selectors, values


def source(name):
    text = (FRAMEWORKS / name / f"{name}.h").read_text()
    return re.sub(r"//.*", "", text)


def declared(text):
    """(class, sign, selector) of every method and property of a header, and its functions."""
    for name in re.findall(r"^MTL_EXTERN \w+ (\w+)\(", text, re.M):
        yield "function", "-", name
    for name, body in re.findall(r"@interface (\w+)(?:[^{\n]*\{.*?\n\}|[^\n]*)(.*?)@end", text, re.S):
        for sign, method in re.findall(r"^([+-]) (.*?);", body, re.S | re.M):
            words = re.sub(r"\([^()]*(\([^()]*\))?[^()]*\)", "", method)
            parts = re.findall(r"(\w+:)", words)
            yield name, sign, "".join(parts) or words.split()[0]
        for names in re.findall(r"@property[^;]*?([\w, ]+);", body):
            for one in names.split(","):
                yield name, "-", one.split()[-1]


def test_every_declaration_is_documented_and_the_other_way_round():
    selectors, _ = documented()
    assert {entry for name in HEADERS for entry in declared(source(name))} == set(selectors)


def test_values_of_enumerations_are_those_documented():
    _, values = documented()
    text = "".join(source(name) for name in HEADERS)
    found = {name: int(value, 0) for name, value in re.findall(r"(MPS\w+) = (\w+)", text)}
    assert found == values


def called(text, owner, selector):
    """Where a source sends a message that begins so, or sets the property; `init` and its like by what they make."""
    first = f"{owner} alloc" if selector.startswith("init") else selector.split(":")[0]
    return [match.start() for match in re.finditer(rf"(?<=[ .:\[(]){first}\b", text)]


@pytest.mark.parametrize("path", sorted((BACKEND / "native").glob("*.mm")), ids=lambda path: path.name)
def test_what_is_newer_is_called_where_it_is_there(path):
    """In the body of `if (@available(macOS ...))`, which the compiler on a Mac asks for as well."""
    text = path.read_text()
    guards = [match.start() for match in re.finditer(r"@available\(macOS", text)]
    for (owner, _, selector), release in documented()[0].items():
        for at in called(text, owner, selector) if release > SINCE else []:
            before = [guard for guard in guards if guard < at]
            assert before, f"{path.name}: {selector} came with macOS {release}"
            assert "\n}\n" not in text[before[-1] : at], f"{path.name}: {selector} is called after its guard"


def test_the_backend_asks_for_that_macos():
    text = (BACKEND / "pyproject.toml").read_text()
    assert f'CMAKE_OSX_DEPLOYMENT_TARGET = "{SINCE[0]}.{SINCE[1]}"' in text
