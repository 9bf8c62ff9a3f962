"""Writes kernels as C++ strings: `embed.py OUT INCLUDE_FOLDER... -- X.metal ...`.

A library made from source has no include path, so that each `#include "..."` or `<needle/...>` is put in its place,
once; #line tells where the compiler's complaints belong.
"""

import re
import sys
from pathlib import Path

INCLUDE = re.compile(r'#include (?:"([^"]+)"|<(needle/[^>]+)>)')
PIECE = 12000  # characters of one literal: compilers need not take more than 65,536


def flatten(path: Path, folders: list[Path], seen: set[Path]) -> str:
    """The source with what it includes in place of the #include lines."""
    seen.add(path)
    lines = [f'#line 1 "{path.name}"']
    for number, line in enumerate(path.read_text().splitlines(), 1):
        found = INCLUDE.match(line)
        if found is None:
            lines.append(line)
            continue
        name = found[1] or found[2]
        target = next(f / name for f in [path.parent, *folders] if (f / name).is_file()).resolve()
        if target not in seen:
            lines.append(flatten(target, folders, seen))
        lines.append(f'#line {number + 1} "{path.name}"')
    return "\n".join(lines)


def literal(source: str) -> str:
    pieces = [source[i : i + PIECE] for i in range(0, len(source), PIECE)]
    return "\n".join(f'R"metal({piece})metal"' for piece in pieces)


def main(out: str, *arguments: str) -> None:
    split = arguments.index("--")
    folders = [Path(folder) for folder in arguments[:split]]
    rows = []
    for name in arguments[split + 1 :]:
        path = Path(name).resolve()
        rows.append(f'    {{"{path.stem}", {literal(flatten(path, folders, set()))}}},\n')
    Path(out).write_text(
        "// Made by embed.py.\n#pragma once\nnamespace needle {\n"
        "struct Source {\n  const char* family;\n  const char* text;\n};\n"
        f"constexpr Source kSources[] = {{\n{''.join(rows)}}};\n}}  // namespace needle\n"
    )


main(*sys.argv[1:])
