"""The course's NDArray against NumPy: views that share memory, assignment in place, arithmetic, errors."""

import operator
from typing import Any

import numpy as np
import pytest

import needle.backend_ndarray as nd
from needle.backend_ndarray import ndarray

DEVICES = [device for device in nd.all_devices() if device.enabled()]


@pytest.fixture(params=DEVICES, ids=repr)
def device(request: pytest.FixtureRequest) -> nd.BackendDevice:
    return request.param


def pair(device: nd.BackendDevice, *shape: int) -> tuple[Any, nd.NDArray]:
    values = np.random.randn(*shape).astype(np.float32)
    return values, nd.array(values, device=device)


def assert_view(found: nd.NDArray, expected: Any, of: nd.NDArray) -> None:
    np.testing.assert_array_equal(found.numpy(), expected)
    assert found.strides == tuple(s // 4 for s in expected.strides)
    assert found._handle.ptr() == of._handle.ptr()


VIEWS = {
    "permute": (lambda x: x.transpose(2, 0, 1), lambda x: x.permute((2, 0, 1))),
    "permute back": (
        lambda x: x.transpose(1, 0, 2).transpose(1, 0, 2),
        lambda x: x.permute((1, 0, 2)).permute((1, 0, 2)),
    ),
    "reshape": (lambda x: x.reshape(8, 9), lambda x: x.reshape((8, 9))),
    "reshape to 1": (lambda x: x.reshape(72), lambda x: x.reshape((72,))),
    "reshape -1": (lambda x: x.reshape(4, -1, 2), lambda x: x.reshape((4, -1, 2))),
    "flat": (lambda x: x.reshape(-1), lambda x: x.flat),
    "[1:3, :, 2:]": (lambda x: x[1:3, :, 2:], lambda x: x[1:3, :, 2:]),
    "[::2, 1::2, :]": (lambda x: x[::2, 1::2, :], lambda x: x[::2, 1::2, :]),
    "[-2:, :-1, :]": (lambda x: x[-2:, :-1, :], lambda x: x[-2:, :-1, :]),
    "[0:100, :, :]": (lambda x: x[0:100], lambda x: x[0:100, :, :]),
    "slice of a permuted": (lambda x: x.transpose(2, 1, 0)[1:2, 2:, ::3], lambda x: x.permute((2, 1, 0))[1:2, 2:, ::3]),
    "slice of a slice": (lambda x: x[1:, :, :][1:2, 1:4, :], lambda x: x[1:, :, :][1:2, 1:4, :]),
}


@pytest.mark.parametrize("name", VIEWS)
def test_views_share_memory(name: str, device: nd.BackendDevice) -> None:
    values, array = pair(device, 4, 6, 3)
    of_numpy, of_course = VIEWS[name]
    assert_view(of_course(array), of_numpy(values), array)


@pytest.mark.parametrize(
    ("shape", "target"), [((4, 1, 3), (4, 5, 3)), ((1, 1), (6, 7)), ((3,), (2, 3)), ((2, 3), (2, 3))]
)
def test_broadcast_to(shape: tuple[int, ...], target: tuple[int, ...], device: nd.BackendDevice) -> None:
    values, array = pair(device, *shape)
    assert_view(array.broadcast_to(target), np.broadcast_to(values, target), array)
    np.testing.assert_array_equal(nd.broadcast_to(array, target).compact().numpy(), np.broadcast_to(values, target))


def test_indexing_never_drops_a_dimension(device: nd.BackendDevice) -> None:
    values, array = pair(device, 4, 5, 6)
    np.testing.assert_array_equal(array[1, 2, 3].numpy(), values[1:2, 2:3, 3:4])
    np.testing.assert_array_equal(array[1, :, -1].numpy(), values[1:2, :, -1:])
    np.testing.assert_array_equal(nd.array([1, 2, 3], device=device)[1].numpy(), [2])


KEYS = [
    (slice(0, 1), slice(0, 1), slice(0, 1)), (slice(1, 3), slice(None), slice(2, 4)), (0, slice(None), slice(None)),
    (slice(None, None, 2), slice(1, None, 3), -1), (slice(None), slice(None), slice(None)),
]  # fmt: skip


def kept(key: tuple[Any, ...]) -> tuple[Any, ...]:
    """The key with ints as slices of one, as the course reads them."""
    return tuple(k if isinstance(k, slice) else slice(k, k + 1 or None) for k in key)


@pytest.mark.parametrize("key", KEYS, ids=str)
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)], ids=str)
def test_setitem(key: tuple[Any, ...], order: tuple[int, ...], device: nd.BackendDevice) -> None:
    values, array = pair(device, 4, 5, 6)
    there, view = values.transpose(order), array.permute(order)
    before = array._handle.ptr()
    view[key], there[kept(key)] = 3.5, 3.5
    np.testing.assert_array_equal(array.numpy(), values)
    new = np.random.randn(*there[kept(key)].shape).astype(np.float32)
    view[key], there[kept(key)] = nd.array(new, device=device), new
    np.testing.assert_array_equal(array.numpy(), values)
    assert array._handle.ptr() == before


def test_setitem_from_another_view_and_shape(device: nd.BackendDevice) -> None:
    values, array = pair(device, 4, 6)
    other, source = pair(device, 6, 4)
    array[:, :], values[:, :] = source.permute((1, 0)), other.T
    np.testing.assert_array_equal(array.numpy(), values)
    array[1:2, :], values[1] = source[0:3, 0:2], other[0:3, 0:2].reshape(-1)
    np.testing.assert_array_equal(array.numpy(), values)
    array[0:2, :], values[0:2] = array[2:4, :], values[2:4]
    np.testing.assert_array_equal(array.numpy(), values)
    with pytest.raises(AssertionError, match="as many elements"):
        array[0:2, :] = source[0:1, 0:3]


def test_compact(device: nd.BackendDevice) -> None:
    _, array = pair(device, 3, 4)
    assert array.is_compact()
    assert array.compact()._handle.ptr() == array._handle.ptr()
    for view in (array.permute((1, 0)), array[1:, :], array[:, ::2], array[0:1, :].broadcast_to((3, 4))):
        assert not view.is_compact()
        assert view.compact().is_compact()
        assert view.compact()._handle.ptr() != array._handle.ptr()
        np.testing.assert_array_equal(view.compact().numpy(), view.numpy())
    assert nd.NDArray.compact_strides((2, 3, 4)) == (12, 4, 1)
    for made in (array.permute((1, 0)) + 1, array[:, ::2].exp(), array.permute((1, 0)).sum(0), array.flip((0,))):
        assert made.is_compact()


def test_make_and_as_strided(device: nd.BackendDevice) -> None:
    values, array = pair(device, 3, 4)
    view = nd.NDArray.make((2, 2), strides=(4, 2), device=device, handle=array._handle, offset=1)
    np.testing.assert_array_equal(view.numpy(), values[:2, 1::2])
    assert view._offset == 1
    assert view._shape == (2, 2)
    assert view._strides == (4, 2)
    np.testing.assert_array_equal(array.as_strided((2, 6), (6, 1)).numpy(), values.reshape(2, 6))
    new = nd.NDArray.make((2, 3), device=device)
    new.fill(2.5)
    np.testing.assert_array_equal(new.numpy(), np.full((2, 3), 2.5))
    assert new._device == device


ARITHMETIC = [operator.add, operator.sub, operator.mul, operator.truediv, operator.ge, operator.gt, operator.le,
              operator.lt, operator.eq, operator.ne]  # fmt: skip


@pytest.mark.parametrize("f", ARITHMETIC, ids=lambda f: f.__name__)
def test_arithmetic_and_comparison(f: Any, device: nd.BackendDevice) -> None:
    (a, x), (b, y) = pair(device, 3, 4), pair(device, 3, 4)
    b[0], y[0, :] = a[0], x[0, :]
    for found, expected in ((f(x, y), f(a, b)), (f(x, 0.5), f(a, np.float32(0.5))), (f(2, y), f(2, b))):
        np.testing.assert_allclose(found.numpy(), expected.astype(np.float32), rtol=1e-6)
        assert found.numpy().dtype == np.float32
    permuted = f(x.permute((1, 0)), y.permute((1, 0)))
    np.testing.assert_allclose(permuted.numpy(), f(a, b).T.astype(np.float32), rtol=1e-6)


def test_functions(device: nd.BackendDevice) -> None:
    a, x = pair(device, 3, 4)
    pairs = [
        (x.exp(), np.exp(a)), (nd.exp(x), np.exp(a)), ((x * x + 1).log(), np.log(a * a + 1)), (nd.tanh(x), np.tanh(a)),
        (-x, -a), (x**2, a**2), (x.maximum(0), np.maximum(a, 0)), (nd.maximum(x, -x), np.abs(a)), (2 - x, 2 - a),
        (nd.log(x * x), np.log(a * a)), (x.tanh(), np.tanh(a)), (x.flip((1,)), a[:, ::-1]), (nd.flip(x, 0), a[::-1]),
        (x.pad(((1, 0), (0, 2))), np.pad(a, ((1, 0), (0, 2)))), (nd.reshape(x, (2, 6)), a.reshape(2, 6)),
        (x @ x.permute((1, 0)), a @ a.T), (nd.full((2, 2), 3.0, device=device), np.full((2, 2), 3.0)),
    ]  # fmt: skip
    for found, expected in pairs:
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["sum", "max"])
@pytest.mark.parametrize("axis", [0, 1, 2, -1, (1,)])
@pytest.mark.parametrize("keepdims", [False, True])
def test_reductions(name: str, axis: Any, keepdims: bool, device: nd.BackendDevice) -> None:
    a, x = pair(device, 3, 4, 5)
    for values, array in ((a, x), (a.transpose(2, 0, 1), x.permute((2, 0, 1)))):
        found = getattr(array, name)(axis=axis, keepdims=keepdims)
        expected = getattr(values, name)(axis=axis, keepdims=keepdims)
        assert found.shape == expected.shape
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5, atol=1e-5)


def test_reductions_of_everything(device: nd.BackendDevice) -> None:
    a, x = pair(device, 3, 4)
    assert x.sum().shape == x.max().shape == nd.sum(x).shape == (1,)
    np.testing.assert_allclose(x.sum().numpy(), [a.sum()], rtol=1e-5)
    np.testing.assert_allclose(x.max().numpy(), [a.max()])
    view, out = x.reduce_view_out(0, keepdims=True)
    assert (view.shape, out.shape) == ((4, 3), (1, 4))
    view, out = x.reduce_view_out(None)
    assert (view.shape, out.shape) == ((1, 12), (1,))


@pytest.mark.parametrize("sizes", [(2, 3, 4), (8, 8, 8), (17, 5, 33), (1, 1, 1), (72, 73, 74)], ids=str)
def test_matmul(sizes: tuple[int, int, int], device: nd.BackendDevice) -> None:
    m, n, p = sizes
    (a, x), (b, y) = pair(device, m, n), pair(device, n, p)
    np.testing.assert_allclose((x @ y).numpy(), a @ b, rtol=1e-4, atol=1e-4)
    (c, z) = pair(device, p, n)
    np.testing.assert_allclose((x @ z.permute((1, 0))).numpy(), a @ c.T, rtol=1e-4, atol=1e-4)


ERRORS = [
    (ValueError, lambda x: x.reshape((5, 5))), (ValueError, lambda x: x.sum(axis=())),
    (ValueError, lambda x: x.max(axis=())), (AssertionError, lambda x: x.broadcast_to((3, 5))),
    (AssertionError, lambda x: x.broadcast_to((4,))), (AssertionError, lambda x: x[0]),
    (AssertionError, lambda x: x[0, 0, 0]), (AssertionError, lambda x: x[::-1, :]),
    (AssertionError, lambda x: x[2:1, :]), (AssertionError, lambda x: x[7, 0]),
    (AssertionError, lambda x: x + x.permute((1, 0))), (AssertionError, lambda x: x == x[0:1, :]),
    (AssertionError, lambda x: x @ x), (AssertionError, lambda x: x @ x.reshape((3, 4, 1))),
    (AssertionError, lambda x: nd.array(x, dtype="float64")), (AssertionError, lambda x: nd.empty((2,), "int8")),
    (AssertionError, lambda x: x.astype("int32")), (AssertionError, lambda x: x.ewise_or_scalar(x[0:1, :], None, None)),
    (AssertionError, lambda x: x["a", 0]),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(ERRORS)))
def test_errors(number: int, device: nd.BackendDevice) -> None:
    kind, f = ERRORS[number]
    with pytest.raises(kind):
        f(nd.array(np.ones((3, 4)), device=device))


def test_process_slice() -> None:
    x = nd.array(np.ones((5, 6)))
    assert x.process_slice(slice(None), 1) == slice(0, 6, 1)
    assert x.process_slice(slice(-2, None, 1), 0) == slice(3, 5, 1)
    assert x.process_slice(slice(1, 100, 2), 0) == slice(1, 5, 2)


def test_ways_in_and_out(device: nd.BackendDevice) -> None:
    a, x = pair(device, 3, 4)
    for copied in (nd.NDArray(x), nd.NDArray(x, device=device), nd.array(a.tolist(), device=device), nd.NDArray(a)):
        assert copied._handle.ptr() != x._handle.ptr()
        np.testing.assert_array_equal(copied.numpy(), a)
    assert x.to(device) is x
    assert nd.array(a, None, device).dtype == "float32"
    assert (x.ndim, x.size, len(x), x.shape) == (2, 12, 3, (3, 4))
    assert x.device == device
    assert nd.prod((2, 3)) == 6
    assert "NDArray" in repr(x)
    assert ndarray.NDArray is nd.NDArray
    np.testing.assert_array_equal(np.asarray(x), a)
    x.numpy()[0, 0] = 9
    np.testing.assert_array_equal(x.numpy(), a)


def test_it_may_be_subclassed(device: nd.BackendDevice) -> None:
    class Named(nd.NDArray):
        name = "x"

    named = Named(np.ones((2, 2)), device=device)
    assert named.name == "x"
    np.testing.assert_array_equal((named + named).numpy(), np.full((2, 2), 2.0))


def test_0_d_in_place() -> None:
    x = nd.array(np.array(3.0))
    x.flat[0] += 1
    np.testing.assert_array_equal(x.numpy(), 4.0)


def test_device_functions(device: nd.BackendDevice) -> None:
    a, x = pair(device, 3, 4)
    b, y = pair(device, 3, 4)
    out = nd.NDArray.make((3, 4), device=device)
    h, g, o = x._handle, y._handle, out._handle
    module = getattr(nd, f"ndarray_backend_{device.name}")
    everywhere = (o, (3, 4), (4, 1), 0)
    calls = [
        (lambda m: m.ewise_add(h, g, o), a + b), (lambda m: m.scalar_add(h, 2, o), a + 2),
        (lambda m: m.ewise_mul(h, g, o), a * b), (lambda m: m.scalar_mul(h, 2, o), a * 2),
        (lambda m: m.ewise_div(h, g, o), a / b), (lambda m: m.scalar_div(h, 2, o), a / 2),
        (lambda m: m.ewise_maximum(h, g, o), np.maximum(a, b)),
        (lambda m: m.scalar_maximum(h, 0.1, o), np.maximum(a, 0.1)),
        (lambda m: m.ewise_eq(h, h, o), np.ones((3, 4))), (lambda m: m.scalar_eq(h, 7, o), np.zeros((3, 4))),
        (lambda m: m.ewise_ge(h, g, o), a >= b), (lambda m: m.scalar_ge(h, 0.0, o), a >= 0),
        (lambda m: m.scalar_power(h, 2, o), a**2), (lambda m: m.ewise_exp(h, o), np.exp(a)),
        (lambda m: m.ewise_tanh(h, o), np.tanh(a)), (lambda m: m.fill(o, 3.0), np.full((3, 4), 3.0)),
        (lambda m: m.from_numpy(b, o), b),
        (lambda m: m.compact(h, o, (3, 4), (0, 1), 4), np.broadcast_to(a[1], (3, 4))),
        (lambda m: m.ewise_setitem(g, *everywhere), b),
        (lambda m: m.scalar_setitem(12, 5, *everywhere), np.full((3, 4), 5)),
    ]  # fmt: skip
    for call, expected in calls:
        for functions in (device, module):
            call(functions)
            np.testing.assert_allclose(out.numpy(), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(module.to_numpy(h, (4, 3), (1, 4), 0), a.T)
    assert module.Array(7).size == 7
    assert isinstance(module.Array(7).ptr(), int)
    assert module.__device_name__ == device.name
    module.synchronize()


def test_reductions_and_products_of_modules(device: nd.BackendDevice) -> None:
    a, x = pair(device, 6, 4)
    out = nd.NDArray.make((6,), device=device)
    device.reduce_sum(x._handle, out._handle, 4)
    np.testing.assert_allclose(out.numpy(), a.sum(1), rtol=1e-5)
    device.reduce_max(x._handle, out._handle, 4)
    np.testing.assert_allclose(out.numpy(), a.max(1))
    b, y = pair(device, 4, 5)
    product = nd.NDArray.make((6, 5), device=device)
    device.matmul(x._handle, y._handle, product._handle, 6, 4, 5)
    np.testing.assert_allclose(product.numpy(), a @ b, rtol=1e-4, atol=1e-5)


def test_matmul_tiled() -> None:
    device = nd.cpu()
    assert hasattr(device, "matmul_tiled")
    t = device.__tile_size__
    (a, x), (b, y) = pair(device, 2, 3, t, t), pair(device, 3, 1, t, t)
    out = nd.NDArray.make((2, 1, t, t), device=device)
    device.matmul_tiled(x._handle, y._handle, out._handle, 2 * t, 3 * t, t)
    flat = [m.transpose(0, 2, 1, 3).reshape(m.shape[0] * t, m.shape[1] * t) for m in (a, b, out.numpy())]
    np.testing.assert_allclose(flat[0] @ flat[1], flat[2], rtol=1e-4, atol=1e-4)
