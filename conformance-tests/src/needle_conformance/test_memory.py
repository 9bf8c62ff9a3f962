"""Stage 2: memory goes to the device and comes back, every byte of it and no other."""

import gc

import numpy as np
import pytest

import needle as ndl
from needle.device import Device
from needle.dispatch import dispatcher
from needle.dtype import DTYPES, DType, numpy_dtype
from needle.errors import DeviceError, OutOfMemoryError
from needle.exchange import bytes_of
from needle.ndarray import NDArray, from_bits
from needle_conformance.test_metadata import backend_of

_SIZES = (0, 1, 2, 3, 4, 7, 8, 15, 16, 64, 255, 4096, 100_003, 3_000_001)


def _dtypes(device: Device) -> list[DType]:
    return [d for d in DTYPES if d in dispatcher(device).backend.dtypes]


def _bytes(n: int, seed: int = 0) -> "np.ndarray[tuple[int], np.dtype[np.uint8]]":
    return np.random.default_rng(seed).integers(0, 256, n, dtype=np.uint8)


@pytest.mark.over.with_args(lambda device: _SIZES)
def test_round_trip(device: Device, trial: int) -> None:
    backend, sent, back = backend_of(device), _bytes(trial), np.zeros(trial, np.uint8)
    buffer = backend.allocate(trial)
    assert buffer.nbytes >= trial
    if trial:
        backend.upload(buffer, 0, bytes_of(sent))
        backend.download(buffer, 0, bytes_of(back))
    np.testing.assert_array_equal(back, sent)


def test_parts(device: Device) -> None:
    """At every offset, and the neighbours stay as they were."""
    backend, whole = backend_of(device), _bytes(97)
    buffer = backend.allocate(97)
    backend.upload(buffer, 0, bytes_of(whole))
    for offset, n in ((0, 1), (1, 2), (3, 64), (17, 5), (96, 1), (40, 57)):
        part = _bytes(n, offset + 1)
        backend.upload(buffer, offset, bytes_of(part))
        whole[offset : offset + n] = part
        back = np.zeros(97, np.uint8)
        backend.download(buffer, 0, bytes_of(back))
        np.testing.assert_array_equal(back, whole)
        some = np.zeros(n, np.uint8)
        backend.download(buffer, offset, bytes_of(some))
        np.testing.assert_array_equal(some, part)


def test_host_memory_is_free_after_upload(device: Device) -> None:
    backend, sent = backend_of(device), _bytes(1_000_003)
    buffer, kept = backend.allocate(sent.size), sent.copy()
    backend.upload(buffer, 0, bytes_of(sent))
    sent[:] = 0
    back = np.zeros_like(sent)
    backend.download(buffer, 0, bytes_of(back))
    np.testing.assert_array_equal(back, kept)


def test_buffers_are_apart(device: Device) -> None:
    backend = backend_of(device)
    buffers = [backend.allocate(n) for n in (1, 16, 33, 4096) for _ in range(8)]
    for i, buffer in enumerate(buffers):
        backend.upload(buffer, 0, bytes_of(np.full(1, i, np.uint8)))
    for i, buffer in enumerate(buffers):
        back = np.zeros(1, np.uint8)
        backend.download(buffer, 0, bytes_of(back))
        assert back[0] == i


def test_memory_is_freed(device: Device) -> None:
    """16 GiB in turn, of which no more than 64 MiB are held at once."""
    backend = backend_of(device)
    for _ in range(256):
        buffer = backend.allocate(1 << 26)
        assert buffer.nbytes >= 1 << 26
        del buffer
    gc.collect()


def test_out_of_memory(device: Device) -> None:
    with pytest.raises(OutOfMemoryError, match="out of memory: 1,152,921,504,606,846,976 bytes asked for"):
        backend_of(device).allocate(1 << 60)


def test_synchronize(device: Device) -> None:
    for _ in range(3):
        backend_of(device).synchronize()


@pytest.mark.over.with_args(_dtypes)
def test_elements(device: Device, trial: DType) -> None:
    """All bits of every dtype survive, NaN's too; of bools, 0 and 1."""
    bits = _bytes(trial.itemsize * 60)
    bits = (bits & 1).view(np.bool_) if trial == "bool" else bits.view(numpy_dtype(trial))
    for shape in ((60,), (3, 4, 5), (0, 3)):
        values = bits[: int(np.prod(shape))].reshape(shape)
        back = from_bits(values, trial, device).host_bits()
        assert back.shape == shape
        assert back.tobytes() == values.tobytes()
    assert from_bits(bits[:1].reshape(()), trial, device).host_bits().tobytes() == bits[:1].tobytes()


@pytest.mark.over.with_args(_dtypes)
def test_item(device: Device, trial: DType) -> None:
    x = ndl.tensor([[1, 0]], dtype=trial, device=device)
    assert x.tolist() == [[1, 0]]
    assert x[0, 0].item() == 1
    assert (repr(x.dtype), x.device, x.shape) == (repr(str(trial)), device, (1, 2))


@pytest.mark.over.with_args(_dtypes)
def test_move(device: Device, trial: DType) -> None:
    """To the reference and back, from an array at an offset; gradients travel the same way."""
    values = np.arange(12) % 2
    x = ndl.tensor(values, dtype=trial, device=device)
    there = x[3:].to("numpy")
    assert there.device == ndl.device("numpy")
    np.testing.assert_array_equal(there.to(device).numpy(), values[3:])


def test_move_gradient(device: Device) -> None:
    x = ndl.tensor([1.0, 2.0, 3.0], device=device, requires_grad=True)
    (x.to("numpy") * ndl.tensor([1.0, 2.0, 4.0], device="numpy")).sum().to(device).backward()
    assert x.grad is not None
    assert x.grad.device is device
    assert x.grad.tolist() == [1.0, 2.0, 4.0]


def test_host_view(device: Device) -> None:
    """Where the memory is the host's, NumPy shares it; elsewhere, exporting it says why not."""
    x = ndl.tensor([[1.0, 2.0], [3.0, 4.0]], device=device).array
    if backend_of(device).host_view(x.buffer) is None:
        _refuses_to_share(x)
        return
    shared, exported = np.asarray(x), np.from_dlpack(x.T)
    shared[0, 1] = 7.0
    assert x.tolist() == [[1.0, 7.0], [3.0, 4.0]]
    assert exported.tolist() == [[1.0, 3.0], [7.0, 4.0]]
    x[1, 0] = 9.0
    backend_of(device).synchronize()
    assert shared.tolist() == [[1.0, 7.0], [9.0, 4.0]]


def _refuses_to_share(x: NDArray) -> None:
    assert np.asarray(x).tolist() == x.tolist()
    with pytest.raises(DeviceError, match=f"dlpack: float32 on {x.device} is not host memory"):
        x.__dlpack__()
    with pytest.raises(ValueError, match=f"cannot share the memory of {x.device}"):
        x.__array__(copy=False)
