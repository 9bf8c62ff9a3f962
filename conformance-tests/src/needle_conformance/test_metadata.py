"""Stage 1: what a backend says of itself is complete and consistent. No kernel runs."""

import inspect
from typing import Any

import pytest

import needle as ndl
from needle.backend import PROTOCOL, Backend, BackendInfo
from needle.device import Device
from needle.dispatch import dispatcher
from needle.dtype import DTYPES, DType, as_dtype
from needle.kinds import Binary, Pool, Random, Reduce, Unary
from needle.registry import State, registry
from needle_conformance.progress import Progress

_KINDS: dict[str, Any] = {"unary": Unary, "binary": Binary, "binary_scalar": Binary, "reduce": Reduce, "random": Random,
                          "pool2d": Pool, "pool2d_grad": Pool}  # fmt: skip
_NOT_OPS = {"allocate", "upload", "download", "synchronize", "sequence", "recording", "set_matmul_precision",
            "copy_from", "host_view", "memory_stats", "describe", "implements", "supports", "versions"}  # fmt: skip
PRIMITIVES = [
    name for name, member in vars(Backend).items()
    if inspect.isfunction(member) and not name.startswith("_") and name not in _NOT_OPS
]  # fmt: skip


def backend_of(device: Device) -> Backend:
    return dispatcher(device).backend


def test_info(device: Device) -> None:
    plugin = registry.plugin(device.backend)
    assert plugin is not None
    assert plugin.state is State.READY
    assert isinstance(plugin.info, BackendInfo)
    assert plugin.info.name == device.backend
    assert plugin.info.protocol <= PROTOCOL
    assert isinstance(plugin.info.priority, int)
    assert all(text.strip() and "\n" not in text for text in plugin.devices), "a device is described in one line"


def test_device(device: Device) -> None:
    assert ndl.device(str(device)) is device
    assert getattr(ndl, device.backend)(device.index) is device
    assert device in ndl.devices()


def test_class(device: Device) -> None:
    backend = backend_of(device)
    assert isinstance(backend, Backend)
    for name in ("allocate", "upload", "download", "synchronize"):
        assert backend.implements(name)


def test_dtypes(device: Device) -> None:
    dtypes = backend_of(device).dtypes
    assert isinstance(dtypes, frozenset)
    assert all(type(d) is DType for d in dtypes)
    missing = {"float32", "int32", "bool"} - dtypes
    assert not missing, f"every device has float32, int32 and bool; {sorted(missing)} missing"


def test_strided(device: Device) -> None:
    backend = backend_of(device)
    assert isinstance(backend.strided, frozenset)
    unknown = backend.strided - set(PRIMITIVES)
    assert not unknown, f"strided names what is no primitive of the protocol: {sorted(unknown)}"
    hollow = {name for name in backend.strided if not backend.implements(name)}
    assert not hollow, f"strided names what the backend does not implement: {sorted(hollow)}"


def test_keeps_order(device: Device) -> None:
    """What keeps the order of x is a batch norm or a pooling, and reads strides."""
    backend = backend_of(device)
    assert isinstance(backend.keeps_order, frozenset)
    unknown = backend.keeps_order - {"batch_norm", "batch_norm_relu", "batch_norm_grad", "pool2d", "pool2d_grad"}
    assert not unknown, f"keeps_order names what core allocates in no other order: {sorted(unknown)}"
    copied = backend.keeps_order - backend.strided
    assert not copied, f"keeps_order names what is not in strided: {sorted(copied)}"


def test_signatures(device: Device) -> None:
    """Each method takes the protocol's arguments, by position."""
    backend = backend_of(device)
    for name in PRIMITIVES:
        if backend.implements(name):
            arguments = list(inspect.signature(getattr(Backend, name)).parameters)[1:]
            try:
                inspect.signature(getattr(backend, name)).bind(*arguments)
            except TypeError as error:
                pytest.fail(f"{name}{tuple(arguments)}: {error}")
            except ValueError:
                continue  # a native function that does not tell its signature


def test_supports(device: Device) -> None:
    """None, or a reason in one line, for every primitive, kind and dtype."""
    backend = backend_of(device)
    for name in PRIMITIVES:
        count = 1 + len(inspect.signature(getattr(Backend, name)).parameters) // 2
        for kind in _KINDS.get(name, [None]):
            for dtype in DTYPES:
                answer = backend.supports(name, kind, (dtype,) * count)
                assert answer is None or (isinstance(answer, str) and answer.strip() and "\n" not in answer), (
                    f"supports({name!r}, {kind!r}, {dtype}) gave {answer!r}"
                )


def test_describe(device: Device) -> None:
    text = backend_of(device).describe()
    assert text.strip()
    assert "\n" not in text


def test_memory_stats(device: Device) -> None:
    stats = backend_of(device).memory_stats()
    assert all(isinstance(name, str) and isinstance(n, int) and n >= 0 for name, n in stats.items()), stats


def test_profile(device: Device, progress: Progress, whole: bool) -> None:
    """Each expected failure has a reason and, if all tests were collected, names one of them."""
    profile = registry.conformance_profile(device.backend)
    for (op, dtype), rtol in profile.rtol.items():
        assert as_dtype(dtype).is_float, f"rtol[{op!r}, {dtype!r}]: only floats have tolerances"
        assert 0 < rtol < 1, f"rtol[{op!r}, {dtype!r}] is {rtol}"
    for pattern, reason in profile.xfails.items():
        assert reason.strip(), f"xfails[{pattern!r}] has no reason"
        assert not whole or pattern in progress.patterns, f"xfails[{pattern!r}] matches no test"
