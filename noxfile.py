# /// script
# requires-python = ">=3.11"
# dependencies = ["nox>=2025.2.9"]
# ///
"""What there is to do with this repository; `nox -l` lists it.

    python -m pip install nox
    python -m nox -s train          train a network on the C++ backend, everything built from this tree
    python -m nox -s tests          every package's tests, and the conformance suite on `numpy` and `cpu`
    python -m nox                   what must pass before a change is sent: lint, types, tests

Needs Python 3.11 or later and a C++17 compiler; all else is installed into environments under .nox/.
"""

import os
import platform
import shutil
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.sessions = ["lint", "types", "tests"]
nox.options.reuse_venv = "yes"
nox.options.error_on_missing_interpreters = False

PACKAGES = ("needle-core", "needle-nn", "needle-backend-cpu", "conformance-tests")  # each after those it depends on
EVERYTHING = ("./needle-core", "./needle-nn[train]", "./needle-backend-cpu", "./conformance-tests")
# Their devices are not on every machine: tests are in sessions of their own.
METAL = ("needle-backend-msl", "needle-backend-mps")
ELSEWHERE = ("needle-backend-cuda", *METAL)
PYTHONS = ("3.11", "3.12", "3.13")
LINTERS = ("ruff==0.17.6", "clang-format==23.1.5")  # as in .pre-commit-config.yaml
CHECKERS = ("mypy==2.4.1", "pyright[nodejs]==1.1.414")
CUDA = (  # compiler, libraries and headers, as in needle-backend-cuda/pyproject.toml
    "cuda-toolkit[nvcc,cudart,cublas,nvrtc,cccl]==13.0.*",
    "nvidia-cudnn-cu13>=9.10,<10",
    "nvidia-cudnn-frontend==1.16.*",
)
NATIVE = {".h", ".cpp", ".cu", ".cuh", ".mm", ".metal"}
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1"}  # in the matrix products of tests, NumPy's threads wait more than they work


@nox.session
def train(session: nox.Session) -> None:
    """Train on handwritten digits with the C++ backend; `-- ARGUMENTS` go to `needle train` instead."""
    session.install("./needle-core", "./needle-nn[train]", "./needle-backend-cpu")
    session.run("needle", "train", *(session.posargs or ["digits", "--device", "cpu"]))


@nox.session
def tests(session: nox.Session) -> None:
    """Every package's tests, then the conformance suite on `numpy` and `cpu`; `-- ARGUMENTS` go to one pytest."""
    run_tests(session, "numpy", "cpu")


def tests_on(version: str) -> None:
    """Add a session `tests-3.x`, which is skipped where there is no such interpreter.

    It leaves out the suite on `numpy` and the suite's own tests, which depend on no Python; the C++ extension is built
    for each.
    """

    @nox.session(name=f"tests-{version}", python=interpreter(version), default=False)
    def tests_on_version(session: nox.Session) -> None:
        run_tests(session, "cpu", packages=PACKAGES[:-1])

    tests_on_version.__doc__ = f"Every package's tests and the conformance suite on `cpu`, on Python {version}."


def interpreter(version: str) -> str:
    """The version, for nox to find; or the path of one that pyenv has, on the command path or not."""
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    found = sorted(root.glob(f"versions/{version}.*/bin/python"))
    return str(found[-1]) if found else version


def run_tests(session: nox.Session, *devices: str, packages: tuple[str, ...] = PACKAGES) -> None:
    # Tests install the package that `needle-conform new` writes, and spread the suite over processes.
    session.install(*EVERYTHING, "hatchling", "pytest-xdist")
    if session.posargs:
        session.run("pytest", *session.posargs, env=ONE_THREAD)
        return
    for package in packages:
        session.run("pytest", f"{package}/tests", env=ONE_THREAD)
    conform(session, *(f"--device={device}" for device in devices))


@nox.session(default=False)
def oracle(session: nox.Session) -> None:
    """Layers, losses, optimizers and whole training steps against PyTorch, to 1e-5; `-- ARGUMENTS` go to pytest."""
    session.install(*EVERYTHING, "torch==2.13.0")
    session.run("pytest", "needle-nn/tests/oracle", *session.posargs, env=ONE_THREAD)


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Race Needle against PyTorch: `-- --device cpu --threads 1 --only softmax`; `-- --help` tells all."""
    session.install(*EVERYTHING, "torch==2.13.0", "matplotlib", "rich")
    session.run("python", "-m", "bench", *session.posargs)


@nox.session(default=False)
def tvm(session: nox.Session) -> None:
    """needle-tvm with Apache TVM (a wheel of 100 MB): all its tests, tuning included; `-- ARGUMENTS` go to pytest."""
    session.install("./needle-core", "./needle-nn", "./needle-backend-cpu", "./needle-tvm", "pytest")
    env = {**ONE_THREAD, "OMP_NUM_THREADS": "1"}
    session.run("pytest", "needle-tvm/tests", *session.posargs, env=env)


@nox.session(default=False)
def isa(session: nox.Session) -> None:
    """The conformance suite on `cpu` with each instruction set forced that this machine has; or `-- avx2`."""
    session.install(*EVERYTHING)
    for level in session.posargs or ("baseline", "avx2", "avx512"):
        env = {"NEEDLE_CPU_ISA": level}
        there = session.run("python", "-c", HAS_ISA, env=env, silent=True, success_codes=[0, 3])
        if there == "yes\n":
            conform(session, "--device=cpu", **env)
        else:
            session.warn(f"this machine has no {level}: left out")


HAS_ISA = """
import sys
try:
    import needle_backend_cpu._ext
except Exception as error:
    print(error)
    sys.exit(3)
print("yes")
"""


@nox.session(default=False)
def sanitize(session: nox.Session) -> None:
    """needle-backend-cpu's tests and the suite's kernels, under AddressSanitizer and UndefinedBehaviorSanitizer.

    Takes GCC or Clang on Linux. `-- ARGUMENTS` go to the first pytest, in place of the folder of tests.
    """
    session.install("./needle-core", "./needle-nn[train]", "./conformance-tests")
    session.install("--no-deps", "-C", "cmake.define.NEEDLE_SANITIZE=ON", "./needle-backend-cpu")
    compiler = os.environ.get("CXX", "c++")
    libraries = (session.run(compiler, f"-print-file-name={name}", external=True, silent=True, log=False)
                 for name in ("libasan.so", "libubsan.so", "libstdc++.so"))  # fmt: skip
    env = {
        **ONE_THREAD,
        "LD_PRELOAD": " ".join(str(path).strip() for path in libraries),
        "ASAN_OPTIONS": "detect_leaks=0",  # Python itself keeps much to its end
        "UBSAN_OPTIONS": "print_stacktrace=1",
    }
    session.run("pytest", *(session.posargs or ["needle-backend-cpu/tests"]), env=env)
    stages = [f"needle_conformance.test_{stage}" for stage in ("memory", "copy", "kernels")]
    session.run("pytest", "-c", "pyproject.toml", "--pyargs", *stages, "--device=cpu", env=env)


def conform(session: nox.Session, *arguments: str, **env: str) -> None:
    """The suite as its users run it: from the installed package, here with this repository's settings."""
    command = ["pytest", "-c", "pyproject.toml", "--pyargs", "needle_conformance", *arguments]
    session.run(*command, env={**ONE_THREAD, **env})


for other in PYTHONS:
    tests_on(other)


@nox.session
def conformance(session: nox.Session) -> None:
    """The conformance suite alone; choose devices by `-- --device cpu` (default: numpy and cpu)."""
    session.install(*EVERYTHING)
    conform(session, *(session.posargs or ["--device=numpy", "--device=cpu"]))


@nox.session(default=False)
def capsule(session: nox.Session) -> None:
    """The whole suite on a sealed backend of protocol 1.0, installed from its wheel: old devices go on working."""
    session.install("./needle-core", "./needle-nn", "./conformance-tests", "build")
    wheels = Path(session.create_tmp()).absolute() / "capsule"
    shutil.rmtree(wheels, ignore_errors=True)
    session.run("python", "-m", "build", "--wheel", "--outdir", str(wheels), "conformance-tests/capsule")
    session.install("--force-reinstall", "--no-deps", *map(str, wheels.glob("*.whl")))
    conform(session, "--device=capsule", *session.posargs)


@nox.session(default=False)
def opencl(session: nox.Session) -> None:
    """A stranger's device: tests, the suite, and training on OpenCL (PoCL, on the CPU, where it is packaged).

    PoCL compiles each kernel for each type, which takes most of the time: by default in the types of every device,
    in all with `-- whole`. Other arguments go to the suite.
    """
    session.install(
        "./needle-core", "./needle-nn[train]", "./conformance-tests", "./contrib/needle-backend-opencl[pocl]"
    )
    ready = session.run("python", "-c", "import needle; print([d.backend for d in needle.devices()])", silent=True)
    if "opencl" not in str(ready):
        session.skip("no OpenCL device: install one, such as Debian's pocl-opencl-icd")
    session.run("pytest", "contrib/needle-backend-opencl/tests", env=ONE_THREAD)
    chosen = [] if session.posargs == ["whole"] else session.posargs or ["-k", THREE_TYPES]
    conform(session, "--device=opencl", *chosen)
    session.run("needle", "train", "digits", "--device", "opencl", "--out", str(Path(session.create_tmp()) / "digits"))


THREE_TYPES = "not ([uint8 or [int8 or [int64 or [float16 or [bfloat16 or [float64)"  # float32, int32 and bool


@nox.session(default=False)
def metal(session: nox.Session) -> None:
    """The Metal backends on the simulator, for Linux on x86-64; `-- ARGUMENTS` go to msl's conformance suite alone.

    The suite's kernels run with every access checked, memory full of garbage and threads in an order that is not the
    usual one, in four layouts; then everything else runs unchecked, in the types that programs use most. `-- --all`
    leaves nothing out.
    """
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        session.skip("the Metal simulator is for Linux on x86-64")
    if shutil.which("clang++-19") is None or not Path("/usr/include/GNUstep").is_dir():
        if shutil.which("apt-get") is None:
            session.skip(f"the Metal simulator takes Debian's {' '.join(SIMULATOR_NEEDS)}")
        session.run("apt-get", "update", "--quiet", external=True)
        session.run("apt-get", "install", "--yes", "--quiet", *SIMULATOR_NEEDS, external=True)
    session.install("./needle-core", "./needle-nn[train]", "./conformance-tests")
    session.install("cmake")  # which the simulator's tests use
    simulated = {"NEEDLE_METAL_SIMULATOR": str(Path("metal-simulator").absolute())}
    session.install("./needle-backend-msl", env=simulated)
    session.install("./needle-backend-mps", env=simulated)
    everything = session.posargs == ["--all"]
    if session.posargs and not everything:
        conform(session, "--device=msl", *session.posargs)
        return
    session.run("pytest", "metal-simulator/tests", env=ONE_THREAD)
    session.run("pytest", "needle-backend-msl/tests", env=ONE_THREAD)
    with_checks = {"METALSIM_SEED": "7", "METALSIM_POISON": "1", "NEEDLE_MSL_EXACT": "1"}
    checked = "kernels" if everything else "compact or permuted or tails or sizes"
    conform(session, "--device=msl", "--stage=kernels", "-k", checked, **with_checks)
    unchecked = "not kernels" if everything else "not kernels and (float32 or int32 or bfloat16 or training or errors)"
    conform(session, "--device=msl", "-k", unchecked, METALSIM_NOCHECK="1")
    session.run("pytest", "needle-backend-mps/tests", env=ONE_THREAD)
    checked = "kernels" if everything else f"({BY_MPS}) and not bfloat16"
    conform(session, "--device=mps", "--stage=kernels", "-k", checked, **with_checks)
    older = {"METALSIM_MACOS": "14", "METALSIM_COMMIT_AND_CONTINUE": "1", "METALSIM_NOCHECK": "1"}
    unchecked = "not kernels" if everything else f"not kernels and (training or float32 and ({BY_MPS}))"
    conform(session, "--device=mps", "-k", unchecked, **older)
    if everything:  # each recipe for 100 steps, compiled and eager: a quarter of an hour
        recipes = ("needle-nn/tests/test_recipes.py", "-k", "compiled_steps and msl")
        session.run("pytest", *recipes, env={**ONE_THREAD, "METALSIM_NOCHECK": "1"})


# What is not msl's: the rest of mps is tested as msl.
BY_MPS = "matmul or linear or reduce or sum or softmax or norm or moments or conv2d or attention"
SIMULATOR_NEEDS = ("clang-19", "libgnustep-base-dev", "libobjc-12-dev", "libblocksruntime-dev")


@nox.session
def lint(session: nox.Session) -> None:
    """The layout and the habits of the code: ruff for Python, clang-format for C++; `-- --fix` repairs what it can."""
    session.install(*LINTERS)
    fix = "--fix" in session.posargs
    session.run("ruff", "check", *(["--fix"] if fix else []))
    session.run("ruff", "format", *([] if fix else ["--check"]))
    folders = (*PACKAGES, *ELSEWHERE, "metal-simulator")
    files = [path for folder in folders for path in sorted(Path(folder).rglob("*")) if "build" not in path.parts]
    sources = [str(path) for path in files if path.suffix in NATIVE]
    session.run("clang-format", *(["-i"] if fix else ["--dry-run", "-Werror"]), *sources)


@nox.session
def types(session: nox.Session) -> None:
    """mypy --strict on every package, and what mypy and pyright see of needle.nn in every mix of installs."""
    contrib = "./contrib/needle-backend-opencl"
    session.install("./needle-core", "./needle-nn[train]", "./conformance-tests", "./needle-backend-msl", contrib)
    session.install(*CHECKERS)
    for package in (*PACKAGES, *ELSEWHERE, contrib):
        session.run("mypy", "--strict", f"{package}/src")
    session.run("mypy", "--strict", "needle-tvm/src")  # TVM has no types, so it need not be there
    session.run("python", "needle-core/tests/typing/check_forwarding.py")


@nox.session(default=False)
def build_cuda(session: nox.Session) -> None:
    """Compile needle-backend-cuda for one GPU and run its tests, which skip with the reason where there is none."""
    session.install("./needle-core", "./needle-nn", "./conformance-tests", "scikit-build-core", "pybind11", *CUDA)
    session.install(
        "--no-build-isolation",
        "--no-deps",
        "./needle-backend-cuda",
        env={"NEEDLE_CUDA_ARCHITECTURES": os.environ.get("NEEDLE_CUDA_ARCHITECTURES", "90-real")},
    )
    session.run("pytest", "needle-backend-cuda/tests", "-rs", *session.posargs, env=ONE_THREAD)


@nox.session
def build(session: nox.Session) -> None:
    """Source distributions and wheels of all packages into dist/, tried in an empty environment."""
    session.install("build")
    dist = Path("dist").absolute()
    shutil.rmtree(dist, ignore_errors=True)
    for package in (*PACKAGES, *METAL):  # a wheel is built from the sdist, and finds needle-core in dist/
        session.run("python", "-m", "build", "--outdir", str(dist), package, env={"PIP_FIND_LINKS": str(dist)})
    folder = Path(session.create_tmp()).absolute()
    session.run("python", "-m", "venv", "--clear", str(folder / "empty"))
    python = str(folder / "empty" / "bin" / "python")
    session.run(python, "-m", "pip", "install", "--quiet", *map(str, sorted(dist.glob("*.whl"))), external=True)
    with session.chdir(folder):
        session.run(python, "-m", "needle", "doctor", external=True)
        session.run(python, "-c", SMOKE, external=True)


SMOKE = """
import needle, needle.nn, needle.optim, needle_conformance
for device in needle.devices():
    x = needle.ones(2, 3, device=device, requires_grad=True)
    (x @ x.T).sum().backward()
    assert x.grad.sum().item() == 24, device
print("the wheels work on", *map(repr, needle.devices()))
"""


if __name__ == "__main__":
    nox.main()
