"""Runs the cases on the simulator and writes what another GPU needs to run their dispatches again."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

import needle as ndl

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mslc.build import compile_ptx

from proof.cases import CASES

ARCHITECTURE = "sm_90"


def record(folder):
    """A folder for each case, the kernels as PTX, or as machine code where there is ptxas, and `replay.py`."""
    folder = Path(folder).absolute()
    shutil.rmtree(folder, ignore_errors=True)
    kernels = {}
    for name, case in CASES.items():
        record_case(folder / name, case)
        for line in (folder / name / "dispatches.jsonl").read_text().splitlines():
            kernels.setdefault(json.loads(line)["library"], f"{len(kernels)}")
    for library, number in kernels.items():
        compiled(Path(library).with_suffix(".metal"), folder / number)
    (folder / "kernels.json").write_text(json.dumps(kernels))
    shutil.copy(Path(__file__).with_name("replay.py"), folder)
    print(f"{len(CASES)} cases and {len(kernels)} sources of kernels in {folder}")


def record_case(folder, case):
    """The dispatches, NumPy's results, and where in the device's memory the results lie."""
    folder.mkdir(parents=True)
    expected = [np.asarray(t.numpy()) for t in case(ndl.device("numpy"))]
    ndl.msl().synchronize()
    os.environ["METALSIM_RECORD"] = str(folder)
    try:
        results = [ndl.Tensor(t.array.contiguous(), requires_grad=False) for t in case(ndl.msl())]
        ndl.msl().synchronize()
    finally:
        del os.environ["METALSIM_RECORD"]
    rows = []
    for tensor, values in zip(results, expected, strict=True):
        view = tensor.array
        address = view.buffer.ptr() + view.layout.offset * view.dtype.itemsize
        rows.append({"address": address, "dtype": str(values.dtype), "shape": values.shape})
        close(tensor.numpy(), values, f"{folder.name} on the simulator")
    np.savez(folder / "expected.npz", *expected)
    (folder / "results.json").write_text(json.dumps(rows))


def close(found, expected, what):
    if expected.dtype.kind == "f":
        np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-5, err_msg=what)
    else:
        np.testing.assert_array_equal(found, expected, err_msg=what)


def compiled(source, target):
    compile_ptx(source, target.with_suffix(".ptx"), arch=ARCHITECTURE)
    ptxas = shutil.which("ptxas")
    if ptxas:
        command = [ptxas, f"-arch={ARCHITECTURE}", "-lineinfo", str(target.with_suffix(".ptx")), "-o"]
        subprocess.run([*command, str(target.with_suffix(".cubin"))], check=True)
        target.with_suffix(".ptx").unlink()
