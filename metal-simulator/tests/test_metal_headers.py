"""The simulated Metal declares what Apple documents: selectors, and the values of enumerations."""

import ast
import re
from pathlib import Path

HERE = Path(__file__).resolve().parent
HEADER = re.sub(r"//.*", "", (HERE.parent / "frameworks" / "Metal" / "Metal.h").read_text())


def documented():
    """The selectors, and the values by name."""
    lines = [s for s in (HERE / "documented" / "metal.txt").read_text().splitlines() if not s.startswith("#")]
    values = dict(line.split(" = ") for line in lines if " = " in line)
    return {line for line in lines if " = " not in line}, {name: int(value) for name, value in values.items()}


def value(text):
    """`1007`, or `(3 << 16) + 1`."""
    left = re.fullmatch(r"\((\d+) << (\d+)\)(?: \+ (\d+))?", text.strip())
    return (int(left[1]) << int(left[2])) + int(left[3] or 0) if left else int(ast.literal_eval(text.strip()))


def test_every_method_is_documented_and_the_other_way_round():
    declared = set()
    for method in re.findall(r"^[+-] (.*?);", HEADER, re.S | re.M):
        words = re.sub(r"\([^()]*(\([^()]*\))?[^()]*\)", "", method)
        declared.add("".join(re.findall(r"(\w+:)", words)) or words.split()[0])
    assert declared == documented()[0]


def test_values_of_enumerations_are_those_documented():
    found = {name: value(text) for name, text in re.findall(r"(MTL\w+) = ([^,}]+)", HEADER)}
    assert found == documented()[1]
