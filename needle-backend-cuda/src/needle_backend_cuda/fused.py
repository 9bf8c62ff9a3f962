"""Fused kernels: the CUDA C++ of an Expression over operands that lie in certain ways.

A kernel depends on the expression, on the types and on the *pattern* of each operand, not on sizes, strides or numbers:
those are words of one parameter, in an order that `native/fused.cu` shares. Compiled kernels are kept on disk.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import needle
from needle.dtype import DTYPES
from needle.expression import STEPS
from needle.kinds import Binary, Kind, Unary
from needle_backend_cuda import kernel_cache, nvrtc

THREADS = 256
NAME = "fused"
_TYPES = {
    "bool": "bool", "uint8": "uint8_t", "int8": "int8_t", "int32": "int32_t", "int64": "int64_t", "float16": "half_t",
    "bfloat16": "bfloat16_t", "float32": "float", "float64": "double",
}  # fmt: skip
_BY_CODE = {dtype.code: _TYPES[dtype] for dtype in DTYPES}
_HEADERS = ("compiler.h", "float_math.h", "types.h", "functors.h")

# Patterns of operands. Others are text with a letter for each axis, the outermost first: what its stride is.
LINEAR = "linear"  # element i of the result meets element i
ONE = "one"  # one element meets all
SAME, NEXT, ANY = "0", "1", "s"


@dataclass(frozen=True)
class Shape:
    """All that a kernel depends on beside the architecture."""

    expression: bytes  # as Expression.packed
    operands: tuple[tuple[int, str], ...]  # the code of the type, and the pattern
    results: tuple[int, ...]  # codes of types
    count: int  # neighbouring elements that a thread computes
    wide: bool  # whether indices need 64 bits


class _Words:
    """Numbers the words of the parameter as the source uses them; `native/fused.cu` fills them in the same order."""

    def __init__(self) -> None:
        self.used = 0

    def next(self) -> str:
        self.used += 1
        return f"a.word[{self.used - 1}]"


def source(shape: Shape) -> str:
    """The CUDA C++ of the kernel."""
    words = _Words()
    size = words.next()
    reads = [words.next() for _ in shape.operands]
    writes = [words.next() for _ in shape.results]
    code = _Code(shape.expression)
    scalars = [words.next() for _ in range(code.scalars)]
    in_types = [_BY_CODE[dtype] for dtype, _ in shape.operands]
    out_types = [_BY_CODE[dtype] for dtype in shape.results]
    places = [line for i, (_, pattern) in enumerate(shape.operands) for line in _place(i, pattern, shape.wide, words)]
    index, count = "int64_t" if shape.wide else "int32_t", shape.count
    parameters = [f"{t} x{i}" for i, t in enumerate(in_types)] + [f"{t}& y{i}" for i, t in enumerate(out_types)]
    lines = ['#include "fused.cuh"', "using namespace needle;", "struct Arguments {", "  uint64_t word[WORDS];", "};"]
    lines += [f"__device__ __forceinline__ void compute(const Arguments& a, {', '.join(parameters)}) {{"]
    lines += [f"  {line}" for line in code.steps(scalars)]
    lines += [f"  y{i} = v{value};" for i, value in enumerate(code.results)]
    lines += ["}", f'extern "C" __global__ void __launch_bounds__({THREADS})']
    lines += [f"{NAME}(const __grid_constant__ Arguments a) {{", f"  const int64_t n = static_cast<int64_t>({size});"]
    lines += [f"  const int64_t first = (int64_t{{blockIdx.x}} * {THREADS} + threadIdx.x) * {count};"]
    lines += ["  if (first >= n) return;", f"  const {index} i = static_cast<{index}>(first);"]
    lines += [f"  const {t}* const in{i} = reinterpret_cast<const {t}*>({reads[i]});" for i, t in enumerate(in_types)]
    lines += [f"  {t}* const out{i} = reinterpret_cast<{t}*>({writes[i]});" for i, t in enumerate(out_types)]
    lines += [f"  {line}" for line in places]
    strided = any(pattern not in (LINEAR, ONE) for _, pattern in shape.operands)
    body = _packed(shape, in_types, out_types) if count > 1 else _single(shape, out_types, "")
    if count > 1 and not strided:
        tail = _single(shape, out_types, " + j")
        lines += [f"  if (first + {count} <= n) {{", *(f"    {line}" for line in body), "  } else {"]
        lines += [f"    for (int j = 0; j < static_cast<int>(n - first); ++j) {{ {' '.join(tail)} }}", "  }"]
    else:
        lines += [f"  {line}" for line in body]
    return "\n".join([*lines, "}", ""]).replace("WORDS", str(words.used))


def _place(i: int, pattern: str, wide: bool, words: _Words) -> Iterator[str]:
    """Lines that compute `p<i>`, where an operand's element lies."""
    if pattern == LINEAR:
        return
    index = "int64_t" if wide else "int32_t"
    yield f"{index} p{i} = 0;"
    if pattern == ONE:
        return
    divisors = [(words.next(), words.next()) for _ in pattern[1:]]
    strides = [words.next() if step == ANY else "" for step in pattern]
    yield "{"
    yield f"  {index} rest = i;"
    for axis in range(len(pattern) - 1, -1, -1):
        at = "rest"
        if axis > 0:
            divisor, shift = divisors[axis - 1]
            size = f"static_cast<{index}>({divisor if wide else f'({divisor} & 0xffffffffu)'})"
            by = f"rest / {size}" if wide else f"static_cast<int32_t>(quotient(rest, {divisor}, {shift}))"
            yield f"  const {index} q{axis} = {by};"
            at = f"(rest - q{axis} * {size})"
        if pattern[axis] != SAME:
            step = f" * static_cast<{index}>({strides[axis]})" if pattern[axis] == ANY else ""
            yield f"  p{i} += {at}{step};"
        if axis > 0:
            yield f"  rest = q{axis};"
    yield "}"


def _single(shape: Shape, out_types: list[str], ahead: str) -> list[str]:
    """One element, the one at i or further ahead."""
    taken = [f"in{i}[{f'i{ahead}' if pattern == LINEAR else f'p{i}'}]" for i, (_, pattern) in enumerate(shape.operands)]
    lines = [f"{t} y{i};" for i, t in enumerate(out_types)]
    lines.append(f"compute(a, {', '.join([*taken, *(f'y{i}' for i in range(len(out_types)))])});")
    return lines + [f"out{i}[i{ahead}] = y{i};" for i in range(len(out_types))]


def _packed(shape: Shape, in_types: list[str], out_types: list[str]) -> list[str]:
    """As many neighbours as a pack has, read and written at once."""
    lines, taken, count = [], [], shape.count
    for i, (_, pattern) in enumerate(shape.operands):
        if pattern == ONE or (pattern != LINEAR and pattern[-1] == SAME):
            lines.append(f"const {in_types[i]} x{i} = in{i}[p{i}];")
            taken.append(f"x{i}")
        else:
            place = "i" if pattern == LINEAR else f"p{i}"
            pack = f"Pack<{in_types[i]}, {count}>"
            lines.append(f"const {pack} x{i} = *reinterpret_cast<const {pack}*>(in{i} + {place});")
            taken.append(f"x{i}.at[j]")
    lines += [f"Pack<{t}, {count}> y{i};" for i, t in enumerate(out_types)]
    given = ", ".join([*taken, *(f"y{i}.at[j]" for i in range(len(out_types)))])
    lines += ["#pragma unroll", f"for (int j = 0; j < {count}; ++j) compute(a, {given});"]
    return lines + [f"*reinterpret_cast<Pack<{t}, {count}>*>(out{i} + i) = y{i};" for i, t in enumerate(out_types)]


class _Code:
    """A packed expression, read again: see `needle.expression`."""

    def __init__(self, packed: bytes) -> None:
        numbers = struct.unpack(f"{len(packed) // 4}i", packed)
        self.operands, steps, results = numbers[:3]
        self.rows = [numbers[3 + 8 * i : 11 + 8 * i] for i in range(steps)]
        self.results = numbers[3 + 8 * steps : 3 + 8 * steps + results]
        self.scalars = sum(STEPS[row[0]] == "binary_scalar" for row in self.rows)

    def steps(self, scalars: list[str]) -> Iterator[str]:
        for i in range(self.operands):
            yield f"const auto v{i} = x{i};"
        for at, (op, kind, dtype, result, a, b, c, swapped) in enumerate(self.rows):
            to = f"const {_BY_CODE[result]} v{self.operands + at} ="
            stored = _BY_CODE[dtype]
            match STEPS[op]:
                case "unary":
                    yield f"{to} apply<{_functor(Unary(kind), stored)}, {stored}>(v{a});"
                case "binary":
                    yield f"{to} combine<{_functor(Binary(kind), stored)}, {stored}>(v{a}, v{b});"
                case "binary_scalar":
                    name = "combine_scalar_first" if swapped else "combine_scalar"
                    number = f"scalar<Wide<{stored}>>({scalars[b]})"
                    yield f"{to} {name}<{_functor(Binary(kind), stored)}, {stored}>(v{a}, {number});"
                case "where":
                    yield f"{to} v{a} ? v{b} : v{c};"
                case _:
                    yield f"{to} Convert<{_BY_CODE[result]}, {stored}>::of(v{a});"


def _functor(kind: Kind, stored: str) -> str:
    """The struct of functors.h: LESS_EQUAL is LessEqual. On bool, which is computed as 0 and 1, `~` is `not`."""
    if kind is Unary.BITWISE_NOT and stored == "bool":
        kind = Unary.LOGICAL_NOT
    return "".join(word.capitalize() for word in kind.name.split("_"))


@cache
def headers() -> dict[str, str]:
    """What the source includes: core's headers, and fused.cuh beside this file."""
    folder = Path(needle.__file__).with_name("include") / "needle"
    found = {name: (folder / name).read_text() for name in _HEADERS}
    return {**found, "fused.cuh": Path(__file__).with_name("fused.cuh").read_text()}


def build(
    expression: bytes, operands: list[tuple[int, str]], results: list[int], count: int, wide: bool, architecture: int
) -> bytes:
    """The kernel as the driver loads it, compiled for an architecture such as 90, or from the disk."""
    text = source(Shape(expression, tuple(operands), tuple(results), count, wide))
    key = kernel_cache.key(text, headers(), str(architecture), nvrtc.version())
    return kernel_cache.kept(key, lambda: nvrtc.compiled(text, headers(), architecture))
