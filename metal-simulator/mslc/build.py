"""Runs clang: the preprocessor, a strict pass with real address spaces, and the pass that is executed.

The source itself is never changed on disk, and line numbers survive.
"""

import contextlib
import os
import subprocess
import tempfile
from pathlib import Path

from mslc.ir import ir_lint
from mslc.tables import host_tables, ptx_tables
from mslc.tokens import MslError
from mslc.unit import Unit

LIBRARY = Path(__file__).resolve().parent.parent / "library"
CLANG = os.environ.get("METALSIM_CLANG", "clang++-19")
FLAGS = [
    "-x", "c++", "-std=c++17", "-nostdinc", "-fno-exceptions", "-fno-rtti",
    "-Xclang", "-ffloat16-excess-precision=none", "-ferror-limit=8",
    "-Wno-unknown-attributes", "-Wno-duplicate-decl-specifier", "-Wno-unused-value", "-Wno-ignored-attributes",
    "-Wno-psabi", "-Wno-unknown-pragmas", "-include", f"{LIBRARY}/msl.h",
]  # fmt: skip
PREPROCESS = [
    "-E", "-undef", "-nostdinc", "-x", "c++", "-std=c++17", "-D__METAL__=1", "-D__METAL_VERSION__=310",
    "-D__METAL_MACOS__=1", "-DMETAL_FUNC=inline __attribute__((always_inline))", "-I", f"{LIBRARY}/metal_headers",
]  # fmt: skip
STRICT = [
    "-DMSL_STRICT", "-S", "-emit-llvm", "-O0", "-gline-tables-only", "-Wno-everything", "-Werror=vla-extension",
]  # fmt: skip
CHECK = [
    "-fsanitize=thread", "-mllvm", "-tsan-instrument-func-entry-exit=0", "-mllvm", "-tsan-handle-cxx-exceptions=0",
    "-fno-sanitize-link-runtime",
]  # fmt: skip
PTX = [
    "-DMSL_PTX", "--target=nvptx64-nvidia-cuda", "-nogpulib", "-Xclang", "-target-feature", "-Xclang", "+ptx83",
    "-fconvergent-functions", "-O2", "-gline-tables-only", "-ffp-contract=off", "-S",
]  # fmt: skip


def clang(arguments, source=None):
    """The output of clang on `source`; what it complains of is raised."""
    done = subprocess.run([CLANG, *arguments], input=source, capture_output=True, text=True, check=False)
    if done.returncode:
        raise MslError(done.stderr)
    return done.stdout


def preprocess(path, defines=()):
    return clang([*PREPROCESS, "-iquote", str(Path(path).resolve().parent), *defines, str(path)])


def scanned(path, defines=()):
    unit = Unit(path, preprocess(path, defines))
    with contextlib.suppress(MslError):  # told with the unit's other errors
        unit.scan()
    return unit


def check_strictly(unit):
    """Type-check with Metal's address spaces, every kernel instantiated; then look at the intermediate code."""
    uses = "".join(f"\nauto* __msl_f{n} = &{instance[2]};" for n, instance in enumerate(unit.insts))
    with tempfile.TemporaryDirectory() as folder:
        ir = Path(folder) / "strict.ll"
        clang([*FLAGS, *STRICT, "-", "-o", str(ir)], unit.emit(True) + '\n#line 1 "msl_force"' + uses)
        complaints = ir_lint(ir.read_text(), unit.path)
    if complaints:
        raise MslError("\n".join(complaints))


def compile_metal(path, out, check=False, fast_math=False, lint_only=False, opt="-O1", lib=None, defines=()):
    """A shared object of the kernels in `path`; with `check` every access is instrumented."""
    unit = scanned(path, defines)
    tables = host_tables(unit)
    if unit.errors:
        raise MslError("\n".join(unit.errors))
    check_strictly(unit)
    if lint_only:
        return
    command = [*FLAGS, opt, "-g1", "-shared", "-fPIC", "-fno-math-errno", "-Wno-undefined-internal"]
    command += ["-ffast-math"] if fast_math else ["-ffp-contract=off"]
    command += [*(CHECK if check else []), "-", "-o", str(out), "-Wl,-z,nodelete", "-nostdlib"]
    if lib:
        folder = os.path.dirname(lib)
        command += [f"-L{folder}", f"-Wl,-rpath,{folder}", "-x", "none", str(lib)]
    clang([*command, "-lm", "-lgcc", "-lc"], unit.emit(False) + tables)


def compile_ptx(path, out, arch="sm_90", defines=()):
    """PTX of the kernels in `path`, to be loaded by cuModuleLoadData."""
    unit = scanned(path, defines)
    if unit.errors:
        raise MslError("\n".join(unit.errors))
    spaces = {
        "static threadgroup": "MSL_SHARED",
        "extern constant": "MSL_FUNCTION_CONSTANT",
    }
    unit.strict_only = {token: spaces.get(text, text) for token, text in unit.strict_only.items()}
    clang([*FLAGS, *PTX, f"-march={arch}", "-", "-o", str(out)], unit.emit(True) + ptx_tables(unit))
