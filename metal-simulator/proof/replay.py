"""`replay.py [CASE...]`: runs recorded dispatches on an NVIDIA GPU and compares with NumPy. Needs the driver and NumPy.

Lies in the folder that `record` wrote. Each of the simulator's buffers is an allocation of its own, of the same size,
so that compute-sanitizer sees what leaves it.
"""

import ctypes
import json
import sys
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).resolve().parent


class Gpu:
    """The little of the CUDA driver that is needed."""

    def __init__(self):
        self.driver = ctypes.CDLL("libcuda.so.1")
        self.call("cuInit", 0)
        device, context = ctypes.c_int(), ctypes.c_void_p()
        self.call("cuDeviceGet", ctypes.byref(device), 0)
        name = ctypes.create_string_buffer(100)
        self.call("cuDeviceGetName", name, 100, device)
        self.name = name.value.decode()
        self.call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        self.call("cuCtxSetCurrent", context)

    def call(self, function, *arguments):
        code = getattr(self.driver, function)(*arguments)
        if code:
            text = ctypes.c_char_p()
            self.driver.cuGetErrorString(code, ctypes.byref(text))
            raise RuntimeError(f"{function}: {(text.value or b'?').decode()}")

    def module(self, path):
        module = ctypes.c_void_p()
        self.call("cuModuleLoadData", ctypes.byref(module), path.read_bytes() + b"\0")
        return module

    def function(self, module, name):
        function = ctypes.c_void_p()
        self.call("cuModuleGetFunction", ctypes.byref(function), module, name.encode())
        return function

    def set_constant(self, module, name, value):
        at, size = ctypes.c_uint64(), ctypes.c_size_t()
        self.call("cuModuleGetGlobal_v2", ctypes.byref(at), ctypes.byref(size), module, name.encode())
        self.call("cuMemcpyHtoD_v2", at, value, ctypes.c_size_t(len(value)))

    def allocate(self, size):
        at = ctypes.c_uint64()
        self.call("cuMemAlloc_v2", ctypes.byref(at), ctypes.c_size_t(size))
        return at.value

    def free(self, at):
        self.call("cuMemFree_v2", ctypes.c_uint64(at))

    def write(self, at, data):
        self.call("cuMemcpyHtoD_v2", ctypes.c_uint64(at), data, ctypes.c_size_t(len(data)))

    def read(self, at, size):
        data = ctypes.create_string_buffer(size)
        self.call("cuMemcpyDtoH_v2", data, ctypes.c_uint64(at), ctypes.c_size_t(size))
        return data.raw[:size]

    def launch(self, function, groups, group, arguments):
        pointers = (ctypes.c_void_p * len(arguments))(*(ctypes.addressof(a) for a in arguments))
        self.call("cuLaunchKernel", function, *groups, *group, 0, None, pointers, None)
        self.call("cuCtxSynchronize")


class Case:
    """One case's dispatches, and the memory they work on."""

    def __init__(self, gpu, folder, modules):
        self.gpu, self.folder, self.modules = gpu, folder, modules
        self.data = (folder / "data.bin").read_bytes()
        self.memory = {}  # the simulator's address: (the GPU's, size)

    def run(self):
        """The kernels that ran."""
        lines = [json.loads(line) for line in (self.folder / "dispatches.jsonl").read_text().splitlines()]
        for line in lines:
            self.dispatch(line)
        return {line["kernel"] for line in lines}

    def dispatch(self, line):
        module = self.modules[line["library"]]
        for name, value in line["constants"].items():
            self.gpu.set_constant(module, name, bytes.fromhex(value))
        buffers = sorted(line["buffers"], key=lambda b: b["index"])
        arguments = [ctypes.c_uint64(self.bound(b) + b["offset"]) for b in buffers]
        group, grid = line["group"], line["grid"]
        if line["exact"]:  # counted in threads: those beyond the last return at once
            threads, groups = grid, [(n + g - 1) // g for n, g in zip(grid, group, strict=True)]
        else:
            threads, groups = [n * g for n, g in zip(grid, group, strict=True)], grid
        function = self.gpu.function(module, line["kernel"])
        self.gpu.launch(function, groups, group, [*arguments, (ctypes.c_uint32 * 3)(*threads)])

    def bound(self, buffer):
        """The GPU's memory for a buffer, holding what the simulator's did."""
        base, length = buffer["base"], buffer["length"]
        at, size = self.memory.get(base, (0, 0))
        if size != length:
            if size:
                self.gpu.free(at)
            at = self.gpu.allocate(length)
            self.memory[base] = at, length
        if buffer["data"] >= 0:
            self.gpu.write(at, self.data[buffer["data"] : buffer["data"] + length])
        return at

    def largest_error(self):
        """Of all results against NumPy's, relative to 1 + |expected|; of whole numbers any difference is infinite."""
        worst = 0.0
        with np.load(self.folder / "expected.npz") as expected:
            rows = json.loads((self.folder / "results.json").read_text())
            for name, row in zip(expected.files, rows, strict=True):
                found, values = self.result(row), expected[name]
                if values.dtype.kind == "f":
                    same = (found == values) | (np.isnan(found) & np.isnan(values))
                    difference = np.where(same, 0, np.abs(found - values) / (1 + np.abs(values)))
                    worst = max(worst, float(np.nan_to_num(difference, nan=np.inf).max(initial=0)))
                elif not np.array_equal(found, values):
                    worst = np.inf
        return worst

    def result(self, row):
        count = int(np.prod(row["shape"], dtype=int)) * np.dtype(row["dtype"]).itemsize
        for base, (at, size) in self.memory.items():
            if base <= row["address"] and row["address"] + count <= base + size:
                data = self.gpu.read(at + row["address"] - base, count)
                return np.frombuffer(data, row["dtype"]).reshape(row["shape"])
        raise RuntimeError(f"{self.folder.name}: a result lies in no buffer")

    def free(self):
        for at, _ in self.memory.values():
            self.gpu.free(at)


def module_of(gpu, number):
    path = FOLDER / f"{number}.cubin"
    return gpu.module(path if path.is_file() else path.with_suffix(".ptx"))


def main(*wanted):
    gpu = Gpu()
    kernels = json.loads((FOLDER / "kernels.json").read_text())
    modules = {library: module_of(gpu, number) for library, number in kernels.items()}
    ran, failed = set(), []
    for results in sorted(FOLDER.glob("*/results.json")):
        case = Case(gpu, results.parent, modules)
        if wanted and results.parent.name not in wanted:
            continue
        ran |= case.run()
        error = case.largest_error()
        case.free()
        print(f"{results.parent.name:14} largest error {error:.1e}", flush=True)
        if not error < 1e-4:
            failed.append(results.parent.name)
    print(f"{len(ran)} kernels on {gpu.name}; " + (f"FAILED: {', '.join(failed)}" if failed else "all equal NumPy"))
    sys.exit(bool(failed))


if __name__ == "__main__":
    main(*sys.argv[1:])
