"""NVRTC, NVIDIA's compiler as a library, from its wheel: CUDA C++ to machine code, with or without a GPU."""

import ctypes
from collections.abc import Mapping
from functools import cache

from needle.errors import BackendError
from needle_backend_cuda import libraries

_NAME, _BUILTINS = "cu13/lib/libnvrtc.so.13", "cu13/lib/libnvrtc-builtins.so.13.0"
_OPTIONS = ("--std=c++17", "--device-as-default-execution-space")


@cache
def library() -> ctypes.CDLL:
    """NVRTC, loaded on first use."""
    libraries.load_one(_BUILTINS)
    try:
        return libraries.load_one(_NAME) or ctypes.CDLL(_NAME.rpartition("/")[2])
    except OSError as error:
        raise BackendError(
            f"cuda: NVRTC cannot be loaded: {error}; pip install 'nvidia-cuda-nvrtc>=13.0,<14'"
        ) from error


@cache
def version() -> str:
    major, minor = ctypes.c_int(), ctypes.c_int()
    _check(library().nvrtcVersion(ctypes.byref(major), ctypes.byref(minor)), "nvrtcVersion")
    return f"{major.value}.{minor.value}"


@cache
def architectures() -> tuple[int, ...]:
    """The architectures that NVRTC makes machine code for, such as 90."""
    count = ctypes.c_int()
    _check(library().nvrtcGetNumSupportedArchs(ctypes.byref(count)), "nvrtcGetNumSupportedArchs")
    found = (ctypes.c_int * count.value)()
    _check(library().nvrtcGetSupportedArchs(found), "nvrtcGetSupportedArchs")
    return tuple(found)


def compiled(source: str, headers: Mapping[str, str], architecture: int) -> bytes:
    """Machine code for an architecture; for one newer than NVRTC, PTX that the driver translates."""
    known = architecture in architectures()
    target = f"sm_{architecture}" if known else f"compute_{max(architectures())}"
    nvrtc, program = library(), ctypes.c_void_p()
    texts = (ctypes.c_char_p * len(headers))(*(text.encode() for text in headers.values()))
    names = (ctypes.c_char_p * len(headers))(*(name.encode() for name in headers))
    made = nvrtc.nvrtcCreateProgram(
        ctypes.byref(program), source.encode(), b"fused.cu", ctypes.c_int(len(headers)), texts, names
    )
    _check(made, "nvrtcCreateProgram")
    try:
        options = [option.encode() for option in (*_OPTIONS, f"--gpu-architecture={target}")]
        status = nvrtc.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*options))
        if status != 0:
            raise BackendError(
                f"cuda: NVRTC {version()} refuses a fused kernel for {target}: {_log(program)}\n{source}"
            )
        return _result(program, "CUBIN" if known else "PTX")
    finally:
        nvrtc.nvrtcDestroyProgram(ctypes.byref(program))


def _result(program: ctypes.c_void_p, kind: str) -> bytes:
    size = ctypes.c_size_t()
    _check(getattr(library(), f"nvrtcGet{kind}Size")(program, ctypes.byref(size)), f"nvrtcGet{kind}Size")
    text = ctypes.create_string_buffer(size.value)
    _check(getattr(library(), f"nvrtcGet{kind}")(program, text), f"nvrtcGet{kind}")
    return text.raw


def _log(program: ctypes.c_void_p) -> str:
    return _result(program, "ProgramLog").rstrip(b"\0\n ").decode(errors="replace")


def _check(status: int, call: str) -> None:
    if status != 0:
        get = library().nvrtcGetErrorString
        get.restype = ctypes.c_char_p
        raise BackendError(f"cuda: {call} failed: {get(status).decode()}")
