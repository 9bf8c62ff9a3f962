"""The numbers that Python and native code share: kinds.py and dtype.py against the C++ headers."""

import re
from pathlib import Path

import pytest

import needle
from needle.dtype import DTYPES
from needle.kinds import Binary, Kind, Random, Reduce, Unary
from needle.shape import MAX_RANK

INCLUDE = Path(needle.__file__).parent / "include/needle"
HEADERS = "".join(path.read_text() for path in sorted(INCLUDE.glob("*.h")))


def enum(name: str) -> dict[str, int]:
    """The members of an enum class, named as in Python: kNotEqual is not_equal."""
    (body,) = re.findall(rf"enum class {name} : int32_t {{(.*?)}};", HEADERS, re.DOTALL)
    return {_snake(member): int(number) for member, number in re.findall(r"\bk(\w+) = (\d+),", body)}


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


@pytest.mark.parametrize("kinds", [Unary, Binary, Reduce, Random])
def test_kinds_have_one_number(kinds: type[Kind]) -> None:
    assert enum(kinds.__name__) == {kind.op: kind.value for kind in kinds}


@pytest.mark.parametrize("kinds", [Unary, Binary, Reduce])
def test_every_kind_has_its_functor_and_its_case(kinds: type[Kind]) -> None:
    cases = dict(re.findall(rf"case {kinds.__name__}::k(\w+):\s+return visit_in<T>\((\w+)\(\), visit\);", HEADERS))
    assert [_snake(name) for name in cases] == [kind.op for kind in kinds]
    for name, functor in cases.items():
        assert functor == name
        assert re.search(rf"^struct {functor}\b", HEADERS, re.MULTILINE), f"functors.h has no struct {functor}"


def test_dtypes_have_one_number() -> None:
    assert {name.replace("_", ""): code for name, code in enum("DType").items()} == {
        str(dtype): dtype.code for dtype in DTYPES
    }


def test_the_highest_rank_is_one_number() -> None:
    assert re.findall(r"kMaxRank = (\d+);", HEADERS) == [str(MAX_RANK)]
