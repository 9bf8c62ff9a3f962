"""A process that runs one row again, or calls that are smaller than one of its own, and tells of each what it is.

    python -m needle_conformance.score.replayed DEVICE ROW DESCRIPTOR [CALL MOVE ...]

Without CALL: the calls of the row, in order, or the whole row if it is more than its calls. With it: from that call,
each MOVE is the place of the smaller one that was taken; then all that are smaller still. What was told last is what
killed the process, or what it hangs in.
"""

import contextlib
import json
import os
import sys
import warnings
from collections.abc import Iterator
from itertools import islice

from needle.fallback import set_fallback
from needle_conformance.calls import Call, calls_of
from needle_conformance.score.rows import Row, find, row_script
from needle_conformance.shrink import SHRUNK, WHOLE


def main() -> None:
    device, row_id, descriptor, *path = sys.argv[1:]
    warnings.simplefilter("ignore")
    row = find(device, row_id)
    with set_fallback("silent"), contextlib.suppress(Exception):
        if path:
            call = _at(row, [int(step) for step in path])
            _run_each(call.smaller(), int(descriptor), SHRUNK)
        elif not _run_each(calls_of(row.test, row.trial), int(descriptor), WHOLE):
            _tell(int(descriptor), row_script(device, row_id, row.trial), None)
            row.run()
    os._exit(0)  # a device may hang in its own clean-up


def _at(row: Row, path: list[int]) -> Call:
    call = next(islice(calls_of(row.test, row.trial), path[0], None))
    for move in path[1:]:
        call = next(islice(call.smaller(), move, None))
    return call


def _run_each(calls: Iterator[Call], descriptor: int, heading: str) -> int:
    """How many calls were run; what they raise does not matter here."""
    count = 0
    for call in calls:
        _tell(descriptor, call.script(heading), count)
        with contextlib.suppress(Exception):
            call.check()
        count += 1
    return count


def _tell(descriptor: int, script: str, at: int | None) -> None:
    os.write(descriptor, json.dumps({"script": script, "at": at}).encode() + b"\n")


if __name__ == "__main__":
    main()
