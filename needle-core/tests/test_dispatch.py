"""Dispatch: native, composed and host paths, their counters, refusal, staging, observers."""

import numpy as np
import pytest

import needle as ndl
from needle import dispatch
from needle.backend import Backend
from needle.convolution import Window
from needle.device import Device
from needle.errors import KernelError, UnsupportedError
from needle.kinds import Pool
from needle.ndarray import from_numpy
from needle.observe import Synchronizer, Validator
from needle.reference import NumpyBackend
from needle.registry import registry

MEMORY = ("allocate", "upload", "download", "synchronize")
KERNELS = ("copy", "cast", "unary", "binary", "where", "reduce")


def backend_with(*methods, **attributes):
    """A device that has only these of the reference's methods, and reads no strides."""
    body = {name: getattr(NumpyBackend, name) for name in (*MEMORY, *methods)}
    return type("Partial", (Backend,), {"dtypes": NumpyBackend.dtypes, **body, **attributes})()


@pytest.fixture
def install(monkeypatch):
    """Put a backend in the registry under a name, for one test."""

    def put(name, backend):
        device = Device(name)
        monkeypatch.setitem(registry._backends, device, backend)
        monkeypatch.delitem(dispatch._dispatchers, device, raising=False)
        return device

    yield put
    ndl.reset_fallbacks()
    for device in [d for d in dispatch._dispatchers if d.backend != "numpy"]:
        del dispatch._dispatchers[device]


def training_step(device):
    """Gradients of a small net, which pass most primitives."""
    rng = np.random.default_rng(0)
    x = ndl.tensor(rng.standard_normal((6, 5)).astype(np.float32), device=device)
    w = ndl.tensor(rng.standard_normal((5, 4)).astype(np.float32), device=device, requires_grad=True)
    labels = ndl.tensor(np.array([0, 1, 2, 3, 0, 1]), device=device)
    loss = ndl.cross_entropy((x @ w).tanh() * 2.0, labels) + w.T[::2].softmax(0).max()
    loss.backward()
    return loss.item(), w.grad.numpy()


@pytest.mark.parametrize(("methods", "path"), [((), "host"), (KERNELS, "composed")])
def test_a_partial_device_computes_the_same(install, methods, path):
    device = install("partial", backend_with(*methods))
    expected = training_step(Device("numpy"))
    with ndl.set_fallback("silent"):
        loss, grad = training_step(device)
    assert loss == pytest.approx(expected[0], rel=1e-6)
    np.testing.assert_allclose(grad, expected[1], rtol=1e-5, atol=1e-7)
    ran = {f.path for f in ndl.fallbacks() if f.device is device}
    assert path in ran
    assert methods == () or ran == {"composed"}


def test_fallbacks_are_counted_warned_of_once_and_refused(install):
    device = install("counted", backend_with())
    x = from_numpy(np.float32([1, 4]), device)
    text = "sqrt: float32 ran on the host for counted:0: the backend has no unary"
    with pytest.warns(ndl.FallbackWarning, match=text):
        x.sqrt()
    x.sqrt()  # no second warning: warnings are errors here
    (entry,) = [f for f in ndl.fallbacks() if f.op == "sqrt"]
    assert (entry.count, entry.path, entry.dtype) == (2, "host", "float32")
    with ndl.set_fallback("error"), pytest.raises(UnsupportedError, match="sqrt: float32 is not native on counted:0"):
        x.sqrt()
    with pytest.raises(ValueError, match="set_fallback: mode is"):
        ndl.set_fallback("maybe")


def test_what_a_backend_says_it_cannot_do_is_not_asked(install):
    def supports(self, op, kind, dtypes):
        return "no sines here" if kind is not None and kind.op == "sin" else None

    device = install("picky", backend_with(*KERNELS, supports=supports))
    x = from_numpy(np.float32([0.5]), device)
    with ndl.set_fallback("silent"):
        assert x.sin().item() == pytest.approx(np.sin(0.5))
        x.cos()
    assert [(f.op, f.reason) for f in ndl.fallbacks() if f.device is device] == [("sin", "no sines here")]


def test_a_backend_without_strides_sees_only_contiguous_operands(install):
    seen = []

    def binary(self, kind, dst, a, b):
        seen.append((a.layout.contiguous, b.layout.contiguous, b.size if hasattr(b, "size") else None))
        NumpyBackend.binary(self, kind, dst, a, b)

    device = install("plain", backend_with(*KERNELS, binary=binary))
    values = np.arange(12, dtype=np.float32).reshape(3, 4)
    x = from_numpy(values, device)
    np.testing.assert_array_equal((x.T + x.T[::-1]).numpy(), values.T + values.T[::-1])
    np.testing.assert_array_equal((x + from_numpy(values[0], device)).numpy(), values + values[0])
    np.testing.assert_array_equal((x + x[0, 0].broadcast_to(3, 4)).numpy(), values)
    assert all(a and b for a, b, _ in seen)


def test_updates_in_place_reach_the_device_by_every_path(install):
    for methods in ((), KERNELS):
        device = install("stepping", backend_with(*methods))
        p, g = from_numpy(np.float32([1, 2]), device), from_numpy(np.float32([1, 1]), device)
        v = from_numpy(np.float32([0, 0]), device)
        with ndl.set_fallback("silent"):
            options = {"momentum": 0.9, "dampening": 0.0, "weight_decay": 0.0, "nesterov": False}
            dispatch.sgd_step(device, [p], [g], [v], lr=0.5, **options)
        np.testing.assert_allclose(p.numpy(), [0.5, 1.5])
        np.testing.assert_allclose(v.numpy(), [1, 1])


def test_observers_see_every_primitive(monkeypatch):
    class Recorder:
        def __init__(self):
            self.calls = []

        def before(self, call):
            self.calls.append((call.name, call.path))

        def after(self, call, token):
            pass

    recorder = Recorder()
    monkeypatch.setattr(dispatch, "observers", [recorder])
    x = ndl.ones(3, 3, device="numpy")
    recorder.calls.clear()
    ((x @ x).exp().sum() * 2.0).item()
    assert recorder.calls == [("matmul", "native"), ("exp", "native"), ("sum", "native"), ("mul", "native")]


def test_validation_stops_at_the_first_wrong_kernel_and_says_how_to_repeat_it(install, monkeypatch):
    def unary(self, kind, dst, x):
        NumpyBackend.unary(self, kind, dst, x)
        if kind.op == "exp":
            dst.buffer.raw[:4] = 0

    device = install("wrong", backend_with(*KERNELS, unary=unary))
    monkeypatch.setattr(dispatch, "observers", [Validator()])
    x = from_numpy(np.float32([[1, 2], [3, 4]]), device)
    x.tanh()
    text = r"exp: wrong:0 and the reference differ at 1 of 4 elements, first at \(0, 0\)"
    with pytest.raises(KernelError, match=text) as caught:
        x.T.exp()
    script = str(caught.value).split("\n", 1)[1]
    monkeypatch.setattr(dispatch, "observers", [])
    monkeypatch.setattr(registry, "device", lambda name, index=0: Device(name, index))
    exec(compile(script, "reproduction", "exec"), {})  # it runs


def test_failures_at_a_wait_name_the_op(install, monkeypatch):
    def synchronize(self):
        raise RuntimeError("device lost")

    device = install("failing", backend_with(*KERNELS, synchronize=synchronize))
    x = from_numpy(np.float32([1]), device)
    monkeypatch.setattr(dispatch, "observers", [Synchronizer()])
    with pytest.raises(KernelError, match="exp: failed on failing:0: device lost"):
        x.exp()


def test_a_device_waits_when_asked(install):
    def synchronize(self):
        raise KernelError("exp", "device lost")

    assert ndl.device("numpy").synchronize() is None
    device = install("failing", backend_with(*KERNELS, synchronize=synchronize))
    with pytest.raises(KernelError, match="exp: device lost"):
        device.synchronize()


def layers_step(device):
    """Gradients through convolution, normalization, pooling and attention."""
    rng = np.random.default_rng(0)
    x, w = (
        ndl.tensor(rng.standard_normal(shape).astype(np.float32), device=device, requires_grad=True)
        for shape in ((2, 5, 6, 4), (3, 2, 2, 4))
    )
    scale, shift = ndl.ones(4, device=device), ndl.zeros(4, device=device)
    y = x.conv2d(w, Window((1, 2), (1, 0), groups=2)).layer_norm(scale, shift).rms_norm(scale)
    mean, var = (ndl.Tensor(moment) for moment in y.array.moments())
    y = y.batch_norm(scale, shift, mean, var).pool2d(Pool.MAX, (2, 2), (1, 1)).pool2d(Pool.MEAN, (2, 1), (2, 1))
    y = y.reshape(2, -1, 4)
    (y.attention(y, y, causal=True) * y.argsort(descending=True)).sum().backward()
    return x.grad.numpy(), w.grad.numpy()


@pytest.mark.parametrize("composed", [{}, dispatch.COMPOSED], ids=["host", "composed"])
def test_layers_are_the_same_on_the_host_and_composed(install, monkeypatch, composed):
    monkeypatch.setattr(dispatch, "COMPOSED", composed)
    device = install("partial", backend_with(*KERNELS))
    with ndl.set_fallback("silent"):
        found = layers_step(device)
    for actual, expected in zip(found, layers_step(Device("numpy")), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)
    paths = {f.op: f.path for f in ndl.fallbacks() if f.device is device}
    assert {paths[op] for op in ("conv2d", "layer_norm_grad", "max_pool", "attention", "argsort")} == (
        {"composed"} if composed else {"host"}
    )


def test_validation_sees_each_result_of_a_layer(install, monkeypatch):
    def layer_norm_grad(self, dx, dw, db, *rest):
        NumpyBackend.layer_norm_grad(self, dx, dw, db, *rest)
        db.buffer.raw[:4] = 0

    device = install("wrong", backend_with(*KERNELS, conv2d=NumpyBackend.conv2d, layer_norm_grad=layer_norm_grad))
    monkeypatch.setattr(dispatch, "observers", [Validator()])
    x = from_numpy(np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4), device)
    w, weight = from_numpy(np.ones((2, 2, 4, 5), np.float32), device), from_numpy(np.ones(4, np.float32), device)
    assert x.conv2d(w, Window()).shape == (1, 1, 2, 5)
    text = "layer_norm_grad: wrong:0 and the reference differ at 1 of 4 elements"
    with pytest.raises(KernelError, match=text):
        x.layer_norm_grad(x, weight, 1e-5)


NORMS = ("batch_norm", "batch_norm_relu", "batch_norm_grad")


@pytest.mark.parametrize("kept", [frozenset(), frozenset(NORMS)], ids=["row-major", "kept"])
def test_results_lie_as_x_does_only_where_a_backend_keeps_orders(install, kept):
    """A backend that does not know of `keeps_order` is never given another result than a row-major one."""
    seen = []

    def watched(name):
        def method(self, *args):
            seen.append((name, args[0].layout.contiguous))
            getattr(NumpyBackend, name)(self, *args)

        return method

    strided = frozenset({"copy", *NORMS})
    methods = {name: watched(name) for name in NORMS}
    device = install("keeping", backend_with(*KERNELS, **methods, strided=strided, keeps_order=kept))
    image = np.random.default_rng(0).standard_normal((2, 3, 4, 5)).astype(np.float32)
    ones, zeros = (from_numpy(np.full(3, v, np.float32), device) for v in (1, 0))
    x = from_numpy(image, device).permute(0, 2, 3, 1)
    y = x.batch_norm(ones, zeros, zeros, ones, 0.0)
    above = x.batch_norm_relu(ones, zeros, zeros, ones, 0.0)
    dx, _, _ = x.batch_norm_grad(x, ones, zeros, ones, 0.0, False)
    assert set(seen) == {(name, not kept) for name in NORMS}
    for found, wanted in ((y, image), (above, np.maximum(image, 0)), (dx, image)):
        assert found.permute(0, 3, 1, 2).layout.contiguous is bool(kept)
        np.testing.assert_array_equal(found.permute(0, 3, 1, 2).numpy(), wanted)
