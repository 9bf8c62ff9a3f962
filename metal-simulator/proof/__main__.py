"""The second proof: our Metal kernels, compiled to PTX by the simulator's compiler, on an NVIDIA GPU.

`python metal-simulator/proof record FOLDER` runs the cases on the simulator (needle-backend-msl built with it) and
writes their dispatches and kernels. Carry the folder to the GPU's machine, or stay where there is one, and
`python FOLDER/replay.py` compares with NumPy; `compute-sanitizer --tool racecheck python FOLDER/replay.py` and
`--tool memcheck` watch it. `python metal-simulator/proof FOLDER` does all of it on one machine.
"""

import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from proof.record import record


def main(*arguments):
    folder = Path(arguments[-1])
    record(folder)
    if arguments[0] == "record":
        return
    replay = [sys.executable, str(folder / "replay.py")]
    subprocess.run(replay, check=True)
    for tool in ("memcheck", "racecheck"):
        subprocess.run(["compute-sanitizer", "--tool", tool, "--error-exitcode", "9", *replay], check=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
