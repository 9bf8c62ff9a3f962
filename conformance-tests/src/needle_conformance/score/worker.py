"""A worker process: runs the rows that it is told to, one after the other, and tells of each start and each end.

    python -m needle_conformance.score.worker DESCRIPTOR      commands on the standard input, one JSON object a line

The first command says which device; the answers go to the descriptor, so that a device may print what it likes. What
a worker began and did not end is what killed it.
"""

import faulthandler
import json
import os
import sys
import warnings
from dataclasses import asdict
from typing import Any, TextIO

from needle.errors import DeviceError
from needle.registry import device as as_device
from needle_conformance.score.about import about
from needle_conformance.score.attempt import Attempts
from needle_conformance.score.rows import rows


def main() -> None:
    faulthandler.enable()
    warnings.simplefilter("ignore")
    with open(int(sys.argv[1]), "w", buffering=1) as answers:
        serve(sys.stdin, answers)


def serve(commands: TextIO, answers: TextIO) -> None:
    asked = json.loads(commands.readline())
    _tell(answers, opening=True)
    try:
        device = as_device(asked["device"])
    except DeviceError as error:
        _tell(answers, no_device=str(error))
        return
    _tell(answers, about=asdict(about(device)))
    if asked["list"]:
        wanted = rows(device, tuple(asked["only"]), tuple(asked["stages"]), asked["quick"])
        _tell(answers, rows=[row.outcome().as_dict() for row in wanted])
    every = {row.id: row for row in rows(device)}
    attempts = Attempts(device, asked["measure"])
    for line in commands:
        for row_id in json.loads(line)["run"]:
            _tell(answers, start=row_id)
            _tell(answers, done=attempts.run(every[row_id]).as_dict())
        _tell(answers, idle=True)


def _tell(answers: TextIO, **message: Any) -> None:
    answers.write(json.dumps(message) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
    os._exit(0)  # a device may hang in its own clean-up
