"""What surrounds the kernels: the allocator, the thread pool, the choice of an instruction set, the bindings."""

import ast
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from twins import CPU, result, twin

import needle
import needle_backend_cpu
from needle.errors import OutOfMemoryError
from needle.kinds import Binary, Reduce, Unary
from needle_backend_cpu import _ext


def python(code: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a script in a fresh interpreter."""
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_memory_is_reused() -> None:
    sizes = [0, 1, 64, 65, 1000, 4096, 100_000, 5_000_000]
    addresses = {n: CPU.allocate(n).ptr() for n in sizes}  # each freed at once
    before = _ext.memory_stats()["system_allocations"]
    for n in reversed(sizes):
        buffer = CPU.allocate(n)
        assert buffer.nbytes == n
        assert buffer.ptr() % 64 == 0
        assert buffer.ptr() == addresses[n]
        del buffer
    assert _ext.memory_stats()["system_allocations"] == before


def test_statistics_count_what_is_used_and_held() -> None:
    before = _ext.memory_stats()
    buffer = CPU.allocate(3_000_000)
    during = CPU.memory_stats()
    assert 3_000_000 <= during["used"] - before["used"] <= 3_750_000
    assert during["peak"] >= during["used"]
    assert during["held"] >= during["used"]
    del buffer
    assert _ext.memory_stats()["used"] == before["used"]
    _ext.empty_cache()
    assert _ext.memory_stats()["held"] == _ext.memory_stats()["used"]


def test_what_is_kept_has_a_limit() -> None:
    total = _ext.memory_stats()["total"]
    _ext.set_cache_limit(1 << 20)
    try:
        del_me = [CPU.allocate(1 << 19) for _ in range(8)]
        del_me.clear()
        stats = _ext.memory_stats()
        assert stats["held"] - stats["used"] <= 1 << 20
    finally:
        _ext.set_cache_limit(total // 4)


@pytest.mark.parametrize("nbytes", [1 << 60, 2**63 - 1])
def test_an_impossible_size(nbytes: int) -> None:
    with pytest.raises(OutOfMemoryError, match=f"^out of memory: {nbytes:,} bytes asked for") as caught:
        CPU.allocate(nbytes)
    assert caught.value.requested == nbytes


def test_the_buffer_shows_its_bytes() -> None:
    buffer = CPU.allocate(8)
    CPU.upload(buffer, 2, memoryview(b"abcd"))
    view = CPU.host_view(buffer)
    assert not view.readonly
    assert bytes(view[2:6]) == b"abcd"
    view[3] = ord("X")
    out = bytearray(3)
    CPU.download(buffer, 3, memoryview(out))
    assert bytes(out) == b"Xcd"
    for offset in (-1, 6, 100):
        with pytest.raises(ValueError, match="the bytes lie outside the buffer"):
            CPU.upload(buffer, offset, memoryview(b"abcd"))


def test_a_foreign_buffer_and_a_wrong_call_are_refused() -> None:
    x = twin([1.0], "float32")
    with pytest.raises(TypeError, match="the view's buffer is not of this device"):
        CPU.unary(Unary.NEG, x.cpu, x.reference)
    with pytest.raises(TypeError, match="3 arguments expected, got 2"):
        CPU.unary(Unary.NEG, x.cpu)  # type: ignore[call-arg]
    with pytest.raises(AttributeError):
        CPU.copy(x.cpu, None)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        _ext.Buffer()


WORK = """
import numpy as np
from needle.kinds import Binary, Reduce, Unary
from needle_backend_cpu import _ext
from twins import CPU, result, twin
rng = np.random.default_rng(0)
def work():
    a, b = rng.standard_normal((700, 901)), rng.standard_normal((1, 901, 300))
    x, y = twin(a, "float32"), twin(a, "float32", "permuted")
    outs = [result(s, "float32") for s in [(700, 901), (700,), (901,), (1,), (700, 901), (1, 700, 300), (1, 1, 300)]]
    CPU.unary(Unary.EXP, outs[0].cpu, x.cpu)
    CPU.reduce(Reduce.SUM, outs[1].cpu, x.cpu, 700, 901)
    CPU.reduce(Reduce.SUM, outs[2].cpu, twin(a.T, "float32", "permuted").cpu, 901, 700)
    CPU.reduce(Reduce.SUM, outs[3].cpu, x.cpu, 1, 700 * 901)
    CPU.softmax(outs[4].cpu, x.cpu, 700, 901)
    CPU.matmul(outs[5].cpu, twin(a[None], "float32").cpu, twin(b, "float32").cpu, False, False)
    CPU.matmul(outs[6].cpu, twin(a[None, :1], "float32").cpu, twin(b, "float32").cpu, False, False)
    return b"".join(o.numpy(CPU).tobytes() for o in outs)
"""


def test_results_do_not_depend_on_the_number_of_threads() -> None:
    script = WORK + "import hashlib; print(_ext.num_threads(), hashlib.sha256(work()).hexdigest())"
    here = str(Path(__file__).parent)
    path = os.pathsep.join([here, *sys.path])
    seen = [python(script, NEEDLE_NUM_THREADS=str(n), PYTHONPATH=path).stdout.split() for n in (1, 2, 3, 8)]
    assert [threads for threads, _ in seen] == ["1", "2", "3", "8"]
    assert len({digest for _, digest in seen}) == 1


def test_the_pool_works_in_a_forked_child() -> None:
    script = WORK + (
        "import os, warnings; warnings.simplefilter('ignore')\n"
        "_ext.set_num_threads(3); rng = np.random.default_rng(1); before = work()\n"
        "rng = np.random.default_rng(1); child = os.fork()\n"
        "if child == 0: os._exit(0 if work() == before else 1)\n"
        "assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0\n"
        "assert work() == before; print('both')"
    )
    done = python(script, PYTHONPATH=os.pathsep.join([str(Path(__file__).parent), *sys.path]))
    assert done.stdout == "both\n", done.stderr


def test_many_python_threads_at_once() -> None:
    x, wrong = twin(np.ones(300_000), "float32"), []

    def add_and_sum() -> None:
        out, total = result((300_000,), "float32"), result((1,), "float32")
        for _ in range(50):
            CPU.binary(Binary.ADD, out.cpu, x.cpu, x.cpu)
            CPU.reduce(Reduce.SUM, total.cpu, out.cpu, 1, 300_000)
            if total.numpy(CPU)[0] != 600_000:
                wrong.append(total.numpy(CPU)[0])

    threads = [threading.Thread(target=add_and_sum) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("n", [0, -1, 5000])
def test_a_wrong_number_of_threads(n: int) -> None:
    with pytest.raises(ValueError, match="set_num_threads: the number of threads is 1 to 1024"):
        _ext.set_num_threads(n)


@pytest.mark.parametrize("text", ["0", "many", "2x"])
def test_a_wrong_environment_says_so_at_import(text: str) -> None:
    threads = python("import needle_backend_cpu._ext", NEEDLE_NUM_THREADS=text, PYTHONPATH=os.pathsep.join(sys.path))
    assert f"NEEDLE_NUM_THREADS={text}: the number of threads is 1 to 1024" in threads.stderr
    isa = python("import needle_backend_cpu._ext", NEEDLE_CPU_ISA=text, PYTHONPATH=os.pathsep.join(sys.path))
    assert f"NEEDLE_CPU_ISA={text}: there are baseline" in isa.stderr


@pytest.mark.parametrize("level", ["baseline", "avx2", "avx512"])
def test_every_instruction_set_passes_the_kernels_tests(level: str) -> None:
    env = {"NEEDLE_CPU_ISA": level, "PYTHONPATH": os.pathsep.join(sys.path)}
    found = python("from needle_backend_cpu import _ext; print(_ext.isa)", **env)
    if found.returncode != 0:
        pytest.skip(f"{level}: not on this machine")
    assert found.stdout.strip() == level
    files = [str(p) for p in Path(__file__).parent.glob("test_*.py") if p != Path(__file__)]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *files],
        env={**os.environ, **env}, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:]


def test_the_stubs_tell_what_there_is() -> None:
    """All that type checkers are told of the extension, in its own stub and in the one of all native backends."""
    for stub in (
        Path(needle_backend_cpu.__file__).with_name("_ext.pyi"),
        Path(needle.__file__).with_name("native.pyi"),
    ):
        declared = [x.name for x in ast.parse(stub.read_text()).body if isinstance(x, ast.ClassDef | ast.FunctionDef)]
        assert [name for name in declared if not hasattr(_ext, name)] == []
