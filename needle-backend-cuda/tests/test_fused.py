"""The source of fused kernels: what it says of operands, that NVRTC takes it for every kind and type, and the cache."""

import itertools
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from needle.dtype import DTYPES, DType, bfloat16, bool_, float16, float32, float64, int32, int64
from needle.errors import BackendError
from needle.expression import Expression, Step
from needle.kinds import COMPARISONS, FLOAT_ONLY, PREDICATES, Binary, Unary
from needle_backend_cuda import fused, kernel_cache, nvrtc

ARCHITECTURE = 90
ROUNDING = (Unary.FLOOR, Unary.CEIL, Unary.ROUND, Unary.TRUNC)  # of ints they are nothing to compute
CHAIN = Expression(
    2,
    (
        Step("binary", Binary.MUL, float32, float32, (0, 1)),
        Step("binary_scalar", Binary.ADD, float32, float32, (2,), 0),
        Step("unary", Unary.TANH, float32, float32, (3,)),
    ),
    (4,),
)


def shape(expression: Expression, operands: list[tuple[DType, str]], results: list[DType], count: int = 1,
          wide: bool = False) -> fused.Shape:  # fmt: skip
    given = tuple((dtype.code, pattern) for dtype, pattern in operands)
    return fused.Shape(expression.packed, given, tuple(dtype.code for dtype in results), count, wide)


@pytest.fixture
def compiler() -> Any:
    """NVRTC, which needs no GPU."""
    try:
        nvrtc.version()
    except BackendError as error:
        pytest.skip(str(error))
    return lambda one: nvrtc.compiled(fused.source(one), fused.headers(), ARCHITECTURE)


def words(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"a\.word\[(\d+)\]", text)]


@pytest.mark.parametrize("patterns", [("linear", "linear"), ("linear", "one"), ("linear", "01"), ("s1s", "0s")])
def test_every_word_is_used_and_no_other(patterns: tuple[str, str]) -> None:
    text = fused.source(shape(CHAIN, [(float32, patterns[0]), (float32, patterns[1])], [float32]))
    size = int(re.search(r"uint64_t word\[(\d+)\];", text)[1])  # type: ignore[index]
    strided = [p for p in patterns if p not in ("linear", "one")]
    assert size == 1 + 2 + 1 + 1 + sum(2 * (len(p) - 1) + p.count("s") for p in strided)
    assert max(words(text)) < size


def test_neighbours_are_read_and_written_by_sixteen_bytes() -> None:
    text = fused.source(shape(CHAIN, [(float32, "linear"), (float32, "01")], [float32], count=4))
    assert text.count("const Pack<float, 4>*>(in") == 2
    assert text.count("Pack<float, 4>*>(out0 + i) = y0") == 1
    assert "tail" not in text
    assert "first + 4 <= n" not in text  # a broadcast operand has whole packs in each row
    text = fused.source(shape(CHAIN, [(float32, "linear"), (float32, "one")], [float32], count=4))
    assert "first + 4 <= n" in text
    assert "in1[p1]" in text


def test_an_axis_that_repeats_costs_no_arithmetic() -> None:
    text = fused.source(shape(CHAIN, [(float32, "linear"), (float32, "01")], [float32]))
    assert "p1 += (rest - q1" in text
    assert text.count("p1 +=") == 1


def kinds() -> Iterator[tuple[str, Any, DType]]:
    for kind, dtype in itertools.product(Unary, DTYPES):
        fits = dtype.is_float if kind in FLOAT_ONLY or kind in ROUNDING else True
        if kind is Unary.LOGICAL_NOT:
            fits = dtype == "bool"
        elif kind is Unary.BITWISE_NOT:
            fits = not dtype.is_float
        elif dtype == "bool":
            fits = False
        if fits:
            yield "unary", kind, dtype
    for kind, dtype in itertools.product(Binary, DTYPES):
        whole = Binary.LOGICAL_AND <= kind <= Binary.SHIFT_RIGHT
        only_floats = kind in (Binary.DIV, Binary.ATAN2)
        if not dtype.is_float if whole else dtype.is_float if only_floats else dtype != "bool":
            yield "binary", kind, dtype


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_kind_compiles(compiler: Any, dtype: DType) -> None:
    """All kinds that a type has in one kernel, each on the operands, and its result a result."""
    steps, results = [], []
    for op, kind, of in kinds():
        if of is dtype:
            to_bool = kind in (PREDICATES if op == "unary" else COMPARISONS)
            inputs = (0,) if op == "unary" else (0, 1)
            steps.append(Step(op, kind, dtype, bool_ if to_bool else dtype, inputs))
            results.append(steps[-1].result)
    assert len(steps) > 10 or dtype == "bool"
    expression = Expression(2, tuple(steps), tuple(range(2, 2 + len(steps))))
    code = compiler(shape(expression, [(dtype, "linear"), (dtype, "s0")], results))
    assert code[:4] == b"\x7fELF"


@pytest.mark.parametrize("dtype", DTYPES)
def test_casts_compile(compiler: Any, dtype: DType) -> None:
    halves = (float16, bfloat16)
    others = [to for to in DTYPES if not (to in halves and dtype in (float64, int64))]
    steps = tuple(Step("cast", None, dtype, to, (0,)) for to in others)
    assert compiler(shape(Expression(1, steps, tuple(range(1, 1 + len(steps)))), [(dtype, "linear")], others))


@pytest.mark.parametrize(("count", "wide"), [(1, False), (4, False), (1, True), (4, True)])
@pytest.mark.parametrize("pattern", ["linear", "one", "01", "10", "s1", "0s1", "s0s1"])
def test_every_pattern_compiles(compiler: Any, pattern: str, count: int, wide: bool) -> None:
    steps = (
        Step("binary", Binary.LESS, float32, bool_, (0, 1)),
        Step("where", None, float32, float32, (3, 0, 2)),
        Step("binary_scalar", Binary.SUB, float32, float32, (4,), 0, True),
    )
    operands = [(float32, "linear"), (float32, pattern), (float32, "one")]
    assert compiler(shape(Expression(3, steps, (5,)), operands, [float32], count, wide))


def test_a_product_and_a_sum_stay_two_steps(compiler: Any) -> None:
    """Contracted to one, they would differ from the two kernels of an eager run."""
    steps = (
        Step("binary", Binary.MUL, float32, float32, (0, 1)),
        Step("binary", Binary.ADD, float32, float32, (2, 0)),
    )
    text = fused.source(shape(Expression(2, steps, (3,)), [(float32, "linear"), (float32, "linear")], [float32]))
    ptx = nvrtc.compiled(text, fused.headers(), 9999)  # an architecture yet to come: PTX
    assert b"fma" not in ptx
    assert b"mul.rn.f32" in ptx
    assert b"add.rn.f32" in ptx


def test_the_compiler_s_words_are_in_the_error(compiler: Any) -> None:
    with pytest.raises(BackendError, match=r"(?s)NVRTC 13.*sm_90.*fused\.cu\(1\): error: .*nonsense"):
        nvrtc.compiled("nonsense", {}, ARCHITECTURE)


# The cache.


@pytest.fixture
def where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(kernel_cache.VARIABLE, str(tmp_path / "kernels"))
    return tmp_path / "kernels"


class Made:
    """Makes a kernel, and counts."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> bytes:
        self.times += 1
        return b"kernel" * 100


def test_a_kernel_is_made_once(where: Path) -> None:
    make = Made()
    assert [kernel_cache.kept("a", make) for _ in range(3)] == [b"kernel" * 100] * 3
    assert make.times == 1
    kernel_cache.kept("b", make)
    assert make.times == 2


@pytest.mark.parametrize("damage", [lambda b: b[:40], lambda b: b"", lambda b: b[:-1] + b"x", lambda b: b"x" + b[1:]])
def test_a_damaged_kernel_is_made_again(where: Path, damage: Any) -> None:
    make = Made()
    kernel_cache.kept("a", make)
    path = where / "a.kernel"
    path.write_bytes(damage(path.read_bytes()))
    assert kernel_cache.kept("a", make) == b"kernel" * 100
    assert make.times == 2
    kernel_cache.kept("a", make)
    assert make.times == 2


def test_a_folder_that_cannot_be_written_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(kernel_cache.VARIABLE, str(tmp_path / "file" / "below"))
    make = Made()
    assert kernel_cache.kept("a", make) == kernel_cache.kept("a", make)
    assert make.times == 2


def test_where_kernels_lie(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(kernel_cache.VARIABLE, "off")
    assert kernel_cache.folder() is None
    monkeypatch.delenv(kernel_cache.VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert kernel_cache.folder() == tmp_path / "needle" / "cuda"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert kernel_cache.folder() == tmp_path / ".cache" / "needle" / "cuda"


def test_what_a_kernel_depends_on_is_in_its_name() -> None:
    rows = [("a", {"h": "1"}, "90", "13.0"), ("b", {"h": "1"}, "90", "13.0"), ("a", {"h": "2"}, "90", "13.0"),
            ("a", {"h": "1"}, "80", "13.0"), ("a", {"h": "1"}, "90", "13.1")]  # fmt: skip
    assert len({kernel_cache.key(*row) for row in rows}) == len(rows)


def test_many_write_at_once(where: Path) -> None:
    threads = [threading.Thread(target=kernel_cache.kept, args=("a", Made())) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [path.name for path in where.iterdir()] == ["a.kernel"]


def test_types_have_names_of_their_own() -> None:
    assert int32.code != int64.code
    assert len({fused._BY_CODE[dtype.code] for dtype in DTYPES}) == len(DTYPES)
