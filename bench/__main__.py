"""The command: reads the options, and runs the races in one process for each number of threads.

The number of threads must stand in the environment before NumPy, PyTorch and Needle are imported, so this module
imports none of them.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

HELP = """\
Race Needle against PyTorch, and see how near the machine's ceilings both come.

Each work, say an exponential of 16 million numbers or a training step, is run by all rivals in turns, round after
round, in one process; a machine's speed drifts, so only times from one run may be compared. The table shows medians,
the ratio needle / rival (below 1: Needle is faster), and what share of the ceiling Needle reaches: of the bandwidth of
a copy for works that move bytes, of the peak of arithmetic for works that compute. Ceilings are measured first.
Before a work is timed, every rival's result is compared with one computed in float64.

examples:
  python -m bench                                      everything on the CPU, one thread and then all of them
  python -m bench --quick --threads 1                  a part of every group, in about 90 seconds
  python -m bench --only softmax,reduction --rounds 15
  python -m bench --device cuda --threads all          a GPU against PyTorch on the same GPU
  python -m bench --against torch,numpy --only matmul  the NumPy device as a second rival
  python -m bench --list                               the works, without running them
"""


def options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("bench", description=HELP, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--device", default="cpu", help="Needle's device; PyTorch takes the one of the same kind (default: cpu)")
    add("--threads", default="1,all", help="threads of both: numbers or `all`, with commas (default: 1,all)")
    add("--only", default="", metavar="TEXT,...", help="works whose group or name contains one of these")
    add("--against", default="torch", metavar="RIVAL,...", help="torch, numpy, or both (default: torch)")
    add("--dtype", default="float32", help="of the floats: float32, float16, bfloat16 (default: float32)")
    add("--rounds", type=int, default=9, help="turns of each rival, at least 7 (default: 9)")
    add("--turn", type=float, default=0.04, metavar="SECONDS", help="how long a turn repeats a work (default: 0.04)")
    add("--quick", action="store_true", help="a part of each group, in 7 short rounds")
    add("--out", type=Path, default=Path("bench/results"), help="folder for JSON and charts (default: bench/results)")
    add("--list", action="store_true", help="print groups and works, run nothing")
    args = parser.parse_args(arguments)
    if args.rounds < 7:
        parser.error(f"--rounds {args.rounds}: a median of fewer than 7 rounds says little")
    if unknown := set(args.against.split(",")) - {"torch", "numpy"}:
        parser.error(f"--against {min(unknown)}: rivals are torch and numpy")
    if args.quick:
        args.rounds, args.turn = 7, 0.02
    return args


def thread_counts(text: str) -> list[int]:
    """The numbers of threads that `1,all` means here, each once."""
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        counts = [here if part == "all" else int(part) for part in text.split(",")]
    except ValueError:
        sys.exit(f"bench: --threads {text}: takes numbers or `all`, with commas between them")
    if min(counts) < 1:
        sys.exit(f"bench: --threads {text}: the fewest is 1")
    return list(dict.fromkeys(counts))


def main(arguments: list[str]) -> int:
    args = options(arguments)
    counts = thread_counts(args.threads)
    if len(counts) > 1 and not args.list:
        runs = [[*arguments, "--threads", str(n)] for n in counts]  # the last of an option holds
        return max(subprocess.run([sys.executable, "-m", "bench", *run], check=False).returncode for run in runs)
    for name in ("NEEDLE_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(counts[0])
    from bench import session  # noqa: PLC0415  only now may NumPy be imported

    if args.list:
        session.show_works(args)
        return 0
    return session.run(args, counts[0])


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
