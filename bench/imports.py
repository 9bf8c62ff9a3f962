"""What `import needle` costs beyond NumPy, with plug-ins installed, and what the first look at all devices costs then.

    python bench/imports.py                 ten plug-ins, medians of 15 processes each
    python bench/imports.py --limit 150     exit status 1 if the import takes longer than so many milliseconds

Needs needle-core alone; bytecode is compiled beforehand, as pip does when it installs. Beside the time on the clock
stands that of the processor, which a busy machine spoils less.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

PLUGIN = """
from needle.backend import BackendInfo, Probe, hookimpl
from needle.reference import NumpyBackend

@hookimpl
def needle_backend_info():
    return BackendInfo({name!r}, priority=-1)

@hookimpl
def needle_probe():
    return Probe(("a device",))

@hookimpl
def needle_create_backend(index):
    return NumpyBackend()
"""

# Each prints the seconds on the clock and of the processor that its last statement took.
_START = "import time; c, p = time.perf_counter(), time.process_time()"
_STOP = "print(time.perf_counter() - c, time.process_time() - p)"
WORKS = {
    "import numpy": f"{_START}; import numpy; {_STOP}",
    "import needle, after numpy": f"import numpy; {_START}; import needle; {_STOP}",
    "needle.devices(), after that": f"import needle; {_START}; needle.devices(); {_STOP}",
}
MEASURED = "import needle, after numpy"


def install(folder: Path, count: int) -> None:
    """Plug-ins as pip would leave them: a module each, and metadata with an entry point."""
    for i in range(count):
        name = f"made{i}"
        (folder / f"backend_{name}.py").write_text(PLUGIN.format(name=name))
        info = folder / f"needle_backend_{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: needle-backend-{name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[needle.backends]\n{name} = backend_{name}\n")


def measured(program: str, folder: Path, rounds: int) -> tuple[float, float]:
    """Medians in milliseconds, of fresh processes: on the clock, and of the processor."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("NEEDLE_") and k != "PYTHONDONTWRITEBYTECODE"}
    path = os.pathsep.join(filter(None, [str(folder), kept.pop("PYTHONPATH", "")]))
    times: list[list[float]] = []
    for _ in range(1 + rounds):
        run = [sys.executable, "-c", program]
        done = subprocess.run(run, env={**kept, "PYTHONPATH": path}, capture_output=True, text=True, check=True)
        times.append([1000 * float(word) for word in done.stdout.split()])
    clock, processor = zip(*times[1:], strict=True)  # the first compiles what is new
    return statistics.median(clock), statistics.median(processor)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plugins", type=int, default=10, help="how many are installed (default: 10)")
    parser.add_argument("--rounds", type=int, default=15, help="processes of each work (default: 15)")
    parser.add_argument("--limit", type=float, help="milliseconds that the import may take beyond NumPy")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        install(folder, args.plugins)
        found = {work: measured(program, folder, args.rounds) for work, program in WORKS.items()}
    print(f"{args.plugins} plug-ins{'':19}  clock  processor")
    for work, (clock, processor) in found.items():
        print(f"{work:30}  {clock:5.0f}  {processor:9.0f} ms")
    return int(args.limit is not None and found[MEASURED][0] > args.limit)


if __name__ == "__main__":
    sys.exit(main())
