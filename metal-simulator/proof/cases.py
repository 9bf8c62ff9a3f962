"""What is run on the other GPU: for each family of kernels some work, as a function of a device that gives tensors.

NumPy's results are those of the same function on the device `numpy`.
"""

import importlib

import numpy as np

import needle as ndl
from needle.kinds import Unary

HALVES = ("float16", "bfloat16")


def inputs(device, *shapes, seed=0, dtype="float32", grad=False):
    """Random numbers, the same on every device."""
    random = np.random.default_rng(seed)
    return [
        ndl.Tensor(random.standard_normal(shape, dtype=np.float32), device=device, dtype=dtype, requires_grad=grad)
        for shape in shapes
    ]


def with_gradients(function, tensors):
    """The result and the gradients of all tensors, for a cotangent that is not the same everywhere."""
    y = function(*tensors)
    weights = np.cos(np.arange(y.size, dtype=np.float32)).reshape(y.shape)
    (y.astype("float32") * ndl.Tensor(weights, device=y.device)).sum().backward()
    return [y, *(t.grad for t in tensors)]


def unary(device):
    x, positive = inputs(device, (33, 70)), [abs(t) + 0.1 for t in inputs(device, (33, 70))]
    found = []
    for kind in Unary:
        operand = (positive if kind in (Unary.LOG, Unary.LOG1P, Unary.SQRT, Unary.RSQRT, Unary.RECIPROCAL) else x)[0]
        if kind is Unary.BITWISE_NOT:
            operand = operand.astype("int32")
        found.append(ndl.Tensor(operand.array._unary(kind), requires_grad=False))
    return found


def binary(device):
    a, b = inputs(device, (40, 31), (40, 31))
    row = inputs(device, (1, 31), seed=2)[0]
    found = [a + b, a * row.broadcast_to(40, 31), a - 2.5, 3.0 / (abs(b) + 1), abs(a) ** 1.5]
    found += [ndl.maximum(a, b), ndl.where(a > b, a, b), a % b, a // (abs(b) + 1), ndl.atan2(a, b)]
    whole = (a * 10).astype("int32")
    found += [whole & 7, whole | 8, whole ^ 3, whole << 2, whole >> 1, whole == 3, whole != 3, whole <= 4]
    return found


def fused(device):
    x, y = inputs(device, (50, 20), (50, 20))
    if device.backend == "numpy":
        return [ndl.tanh(x * 2 + y).relu() * 0.5]
    function = ndl.compile(lambda x, y: ndl.tanh(x * 2 + y).relu() * 0.5)
    return [function(x, y), function(x, y)][-1:]


def copies(device):
    x = inputs(device, (12, 9, 5))[0]
    found = [x.permute((2, 0, 1)).contiguous(), x[::2, 1:7, ::-1].contiguous()]
    whole = (x * 20).astype("int32")
    kinds = ("int8", "uint8", "int64", "float16", "bfloat16", "bool")
    return found + [whole.astype(kind).astype("float32") for kind in kinds]


def products(device):
    """The three kernels agree at edges of blocks; batches, transposed operands, the epilogue."""
    a, b, bias = inputs(device, (70, 45), (45, 66), (1, 66))
    batched, other = inputs(device, (3, 20, 33), (3, 33, 17), seed=1)
    found = [a @ b, ndl.linear(a, b, bias, relu=True), batched @ other, b.mT @ a.mT, a[:5] @ b]
    whole = (a * 4).astype("int32") @ (b * 4).astype("int32")
    halves = [(a.astype(dtype) @ b.astype(dtype)).astype("float32") for dtype in HALVES]
    naive = [a @ b]
    if device.backend != "numpy":
        ext = importlib.import_module("needle_backend_msl._ext")
        out = a.array.new((1, 70, 66), a.dtype)
        ext.matmul_naive(out, a.array.reshape((1, 70, 45)), b.array.reshape((1, 45, 66)), False, False)
        naive = [ndl.Tensor(out.reshape((70, 66)), requires_grad=False)]
    return [*found, whole, *halves, *naive]


def convolutions(device):
    x, w = inputs(device, (2, 6, 9, 11), (3, 3, 3, 10), grad=True)
    return with_gradients(lambda x, w: ndl.conv2d(x, w, None, 2, 1, 1, 2), [x, w])


def pooling(device):
    x = inputs(device, (2, 3, 9, 8), grad=True)
    y = inputs(device, (2, 3, 9, 8), grad=True)
    return with_gradients(lambda x: ndl.max_pool2d(x, 3, 2, 1), x) + with_gradients(
        lambda x: ndl.avg_pool2d(x, 2, 2), y
    )


def norms(device):
    x, w, b = inputs(device, (37, 50), (50,), (50,), grad=True)
    found = with_gradients(lambda x, w, b: x.layer_norm(w, b), [x, w, b])
    x, w = inputs(device, (37, 50), (50,), grad=True)
    found += with_gradients(lambda x, w: x.rms_norm(w), [x, w])
    layer = ndl.nn.BatchNorm1d(50, device=device)
    (x,) = inputs(device, (37, 50), grad=True)
    return found + with_gradients(layer, [x])


def rows(device):
    x = inputs(device, (9, 300), grad=True)
    found = with_gradients(lambda x: ndl.softmax(x, 1), x)
    x = inputs(device, (9, 40), grad=True)
    found += with_gradients(lambda x: ndl.log_softmax(x, 1), x)
    x = inputs(device, (9, 40), grad=True)
    labels = ndl.Tensor(np.arange(9) % 7, device=device)
    return found + with_gradients(lambda x: ndl.nn.SoftmaxLoss()(x, labels).reshape(1), x)


def reductions(device):
    x = inputs(device, (13, 500))[0]
    found = [x.sum(1), x.sum(0), x.max(1), x.min(0), (x * 0.01 + 1).prod(1), x.argmax(1), x[:, :40].cumsum(1)]
    return [*found, (x * 10).astype("int64").sum(1), x.astype("bfloat16").sum(1).astype("float32"), x.sum()]


def indices(device):
    x = inputs(device, (20, 6), grad=True)[0]
    index = ndl.Tensor(np.array([3, 3, 0, 19, 7], np.int32), device=device)
    return with_gradients(lambda x: x[index], [x])


def sorting(device):
    x = inputs(device, (3, 700))[0]
    return [x.argsort(), x.argsort(descending=True), (x[:, :100] * 2).astype("int32").argsort()]


def attention(device):
    found = []
    for causal in (False, True):
        q, k, v = inputs(device, (2, 70, 40), (2, 50, 40), (2, 50, 130), grad=True)
        found += with_gradients(lambda q, k, v, causal=causal: q.attention(k, v, causal), [q, k, v])
    return found


def optimizers(device):
    found = []
    for make in (
        lambda p: ndl.optim.SGD(p, 0.1, momentum=0.9),
        lambda p: ndl.optim.Adam(p, 0.1),
        lambda p: ndl.optim.AdamW(p, 0.1),
    ):
        parameters = [ndl.nn.Parameter(t) for t in inputs(device, (5, 3), (5000,), (1,), (7, 7))]
        optimizer = make(parameters)
        for _ in range(2):
            optimizer.zero_grad()
            sum((p * p * p).sum() for p in parameters).backward()
            optimizer.step()
        found += parameters
    return found


def random(device):
    generator = ndl.Generator(7)
    return [
        ndl.rand(77, device=device, generator=generator),
        ndl.randn(77, device=device, generator=generator),
    ]


def uploads(device):
    """An upload to memory that the device still works on goes through its queue, short and long ones by other ways."""
    found = []
    for n in (5, 3000):
        old, new = np.arange(n, dtype=np.float32), np.full(n, -1, np.float32)
        x = ndl.Tensor(old, device=device)
        y = x * 2
        x.array.assign(new)
        found += [y, x + 0]
    return found


CASES = {
    function.__name__: function
    for function in (
        unary, binary, fused, copies, products, convolutions, pooling, norms, rows, reductions, indices, sorting,
        attention, optimizers, random, uploads,
    )
}  # fmt: skip
