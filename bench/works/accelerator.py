"""What a GPU is judged by: kernels at 8192 x 4096, attention, products in TF32, and our own beside the libraries'."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch.nn import functional

import needle as ndl
from bench.sides import Needle
from bench.work import Inputs, Work, function, normal
from bench.works.matmul import NOTEBOOK, product

SHAPE = (8192, 4096)
N = SHAPE[0] * SHAPE[1]
HEADS = (8, 12, 1024, 64)


def large(name: str, ours: Any, theirs: Any, *more: tuple[int, ...], moved: float = 2 * N, **facts: Any) -> Work:
    return function("8192 x 4096", name, normal(SHAPE, *more), ours, theirs, moved=moved, **facts)


LARGE = [
    large("exp", ndl.exp, torch.exp),
    large("add", lambda a, b: a + b, lambda a, b: a + b, SHAPE, moved=3 * N),
    large("add of a row", lambda a, b: a + b, lambda a, b: a + b, SHAPE[1:]),
    large("product with a column", lambda a, b: a * b, lambda a, b: a * b, (SHAPE[0], 1)),
    large("sum of all", lambda x: x.sum(), lambda x: x.sum(), moved=N, tolerance=1e-3),
    large("sum over axis 0", lambda x: x.sum(0), lambda x: x.sum(0), moved=N, tolerance=1e-4),
    large("sum over axis 1", lambda x: x.sum(1), lambda x: x.sum(1), moved=N, tolerance=1e-4),
    large("max over axis 1", lambda x: x.max(1), lambda x: torch.amax(x, 1), moved=N),
    large("argmax over axis 1", lambda x: x.argmax(1), lambda x: x.argmax(1), moved=N),
    large("softmax", lambda x: x.softmax(-1), lambda x: x.softmax(-1)),
    large("layer norm", lambda x, w, b: x.layer_norm(w, b), lambda x, w, b: functional.layer_norm(x, w.shape, w, b),
          SHAPE[1:], SHAPE[1:]),
]  # fmt: skip


def attention(dtype: str, backward: bool) -> Work:
    """Causal; in a half type both sides are given halves, and the check is against float64 all the same."""

    def run(call: Callable[..., Any], tensors: Sequence[Any]) -> Callable[[], Any]:
        *operands, cotangent = tensors
        if not backward:
            return lambda: call(*operands)
        leaves = [x.requires_grad_() for x in operands]

        def step() -> Any:
            for leaf in leaves:
                leaf.grad = None
            call(*leaves).backward(cotangent)
            return tuple(leaf.grad for leaf in leaves)

        return step

    def ours(side: Any, *tensors: Any) -> Callable[[], Any]:
        return run(lambda q, k, v: q.attention(k, v, True), [x.astype(dtype).detach() for x in tensors])

    def theirs(side: Any, *tensors: Any) -> Callable[[], Any]:
        exact = side.dtype is torch.float64
        given = [x if exact else x.to(getattr(torch, dtype)) for x in tensors]
        return run(lambda q, k, v: functional.scaled_dot_product_attention(q, k, v, is_causal=True), given)

    batch, heads, rows, columns = HEADS
    flops = 2.0 * batch * heads * rows**2 * columns * (3.5 if backward else 1)  # half of the pairs are seen
    name = f"{dtype}, {'with backward' if backward else 'forward'}"
    return Work("attention", name, normal(*[HEADS] * 4), ours, theirs, flops=flops if dtype == "float32" else 0,
                tolerance=1e-4 if dtype == "float32" else 5e-2)  # fmt: skip


@contextmanager
def tf32() -> Iterator[None]:
    """Operands of products rounded to TF32, on both sides."""
    ndl.set_matmul_precision("high")
    torch.backends.cuda.matmul.allow_tf32 = True
    try:
        yield
    finally:
        ndl.set_matmul_precision("highest")
        torch.backends.cuda.matmul.allow_tf32 = False


def in_tf32(work: Work) -> Work:
    return replace(work, group="matmul in TF32", under=tf32, tolerance=5e-3, flops=0, moved=0)


def own(name: str, inputs: Inputs, ours: Callable[..., Any], theirs: Callable[..., Any], **facts: Any) -> Work:
    """A reference kernel that an extension keeps beside a library's, into memory made once."""

    def mine(side: Needle, *tensors: Any) -> Callable[[], Any]:
        from needle_backend_cuda import _ext  # noqa: PLC0415  (where there is a GPU)

        return lambda: ours(_ext, *tensors)

    def library(side: Any, *tensors: Any) -> Callable[[], Any]:
        return lambda: theirs(*tensors)

    return Work("kernels of our own", name, inputs, mine, library, tolerance=1e-4, **facts)


def tiled(kernel: str) -> Callable[..., Any]:
    def call(ext: Any, a: Any, b: Any) -> Any:
        out = a.array.new((1, a.shape[0], b.shape[1]), a.dtype)
        getattr(ext, kernel)(out, a.reshape(1, *a.shape).array, b.reshape(1, *b.shape).array, False, False)
        return ndl.Tensor(out)

    return call


def direct(ext: Any, x: Any, w: Any) -> Any:
    """3 x 3 over (N, C, H, W), in our kernels' order of axes."""
    image, kernel = x.permute(0, 2, 3, 1).array, w.permute(2, 3, 1, 0).array
    out = image.new((*image.shape[:3], kernel.shape[3]), x.dtype)
    ext.conv2d_direct(out, image, kernel, (1, 1), (1, 1), (1, 1), 1)
    return ndl.Tensor(out.permute(0, 3, 1, 2))


OWN = [
    own("tiled product, 1024x1024x1024", normal((1024, 1024), (1024, 1024)), tiled("matmul_tiled"), torch.matmul,
        flops=2 * 1024**3),
    own("naive product, 1024x1024x1024", normal((1024, 1024), (1024, 1024)), tiled("matmul_naive"), torch.matmul,
        flops=2 * 1024**3),
    own("convolution 64 to 128, 32x32, 3x3", normal((32, 64, 32, 32), (128, 64, 3, 3)), direct,
        lambda x, w: functional.conv2d(x, w, padding=1), flops=2 * 32 * 32 * 32 * 64 * 128 * 9),
]  # fmt: skip

WORKS = [
    replace(work, only_on="cuda")
    for work in [
        *LARGE,
        *(attention(dtype, backward) for dtype in ("float32", "bfloat16") for backward in (False, True)),
        *(in_tf32(product(*shape)) for shape in NOTEBOOK),
        *OWN,
    ]
]
