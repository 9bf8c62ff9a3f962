"""Which nodes must follow which: from the bytes that each reads and writes, for devices that run several at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from needle.program.graph import Node, Operand
from needle.program.memory import Plan


@dataclass(frozen=True)
class _Access:
    """Bytes of a block of memory that a node reads or writes."""

    node: int
    first: int
    end: int
    writes: bool

    def hinders(self, other: "_Access") -> bool:
        return (self.writes or other.writes) and self.first < other.end and other.first < self.end


def order(nodes: Sequence[Node], plan: Plan) -> list[tuple[int, ...]]:
    """For each node the earlier ones that it must follow, those left out that these follow anyway.

    Two nodes may change places unless one writes what the other reads or writes. Temporaries that share a place in the
    arena are told apart by their bytes there.
    """
    seen: dict[Any, list[_Access]] = {}
    behind: list[int] = []  # of each node all that it follows, as bits
    found: list[tuple[int, ...]] = []
    for i, node in enumerate(nodes):
        own = [(x, False) for x in node.reads] + [(x, True) for x in node.writes]
        accesses = [(_block(x, plan), _access(i, x, writes, plan)) for x, writes in own]
        needed = {other.node for block, access in accesses for other in seen.get(block, ()) if access.hinders(other)}
        direct: list[int] = []
        covered = 0
        for j in sorted(needed, reverse=True):
            if not covered >> j & 1:
                direct.append(j)
                covered |= behind[j] | 1 << j
        behind.append(covered)
        found.append(tuple(reversed(direct)))
        for block, access in accesses:
            before = seen.setdefault(block, [])
            if access.writes:  # whoever meets what lies under it meets it as well
                before[:] = [x for x in before if x.first < access.first or x.end > access.end]
            before.append(access)
    return found


def _block(x: Operand, plan: Plan) -> Any:
    """What stands for the memory that an operand lies in: an arena, or a storage with memory of its own."""
    return x.storage.device if x.storage in plan.offsets else x.storage


def _access(node: int, x: Operand, writes: bool, plan: Plan) -> _Access:
    first, last = x.layout.span()
    base, item = plan.offsets.get(x.storage, 0), x.dtype.itemsize
    if x.layout.size == 0:
        return _Access(node, 0, 0, writes)
    return _Access(node, base + first * item, base + last * item, writes)
