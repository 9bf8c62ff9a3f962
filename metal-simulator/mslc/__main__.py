"""`python metal-simulator/mslc [--check] X.metal -o X.so --lib libmslexec.so`, or `--ptx -o X.ptx`."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from mslc.build import compile_metal, compile_ptx
from mslc.tokens import MslError

if __name__ == "__main__":
    p = argparse.ArgumentParser()
    p.add_argument("src")
    p.add_argument("-o", default="/dev/null")
    p.add_argument("--check", action="store_true")
    p.add_argument("--fast-math", action="store_true")
    p.add_argument("--lint", action="store_true")
    p.add_argument("--ptx", action="store_true")
    p.add_argument("--lib")
    p.add_argument("-O", default="1")
    a = p.parse_args()
    try:
        if a.ptx:
            compile_ptx(a.src, a.o)
            sys.exit(0)
        compile_metal(a.src, a.o, a.check, a.fast_math, a.lint, "-O" + a.O, a.lib)
    except MslError as e:
        sys.stderr.write(str(e))
        sys.exit(1)
