"""Products of matrices: the shapes of the benchmark notebook, and those that training meets beside them."""

from typing import Any

from bench.work import Work, function, normal

NOTEBOOK = [  # m, k, n
    (1024, 1024, 1024), (2048, 2048, 2048), (4096, 4096, 4096),
    (64, 1024, 4096), (256, 1024, 4096), (64, 4096, 1024), (64, 2048, 8192), (32, 512, 2048),
]  # fmt: skip
QUICK = {(1024, 1024, 1024), (64, 1024, 4096), (32, 512, 2048)}


def product(m: int, k: int, n: int) -> Work:
    return function(
        "matmul", f"{m}x{k}x{n}", normal((m, k), (k, n)), lambda a, b: a @ b, lambda a, b: a @ b,
        flops=2 * m * k * n, moved=m * k + k * n + m * n, quick=(m, k, n) in QUICK,
    )  # fmt: skip


def variant(name: str, shapes: tuple[tuple[int, ...], tuple[int, ...]], flops: float, call: Any, **facts: Any) -> Work:
    return function("matmul variants", name, normal(*shapes), call, call, flops=flops, **facts)


WORKS = [
    *(product(*shape) for shape in NOTEBOOK),
    variant("512x512 @ (512x512).T", ((512, 512), (512, 512)), 2 * 512**3, lambda a, b: a @ b.mT, quick=True),
    variant("(512x512).T @ 512x512", ((512, 512), (512, 512)), 2 * 512**3, lambda a, b: a.mT @ b),
    variant("32 batches of 128x64x128", ((32, 128, 64), (32, 64, 128)), 64 * 128 * 64 * 128, lambda a, b: a @ b),
    variant("32 batches, right one shared", ((32, 128, 64), (64, 128)), 64 * 128 * 64 * 128, lambda a, b: a @ b),
    variant("1x4096 @ 4096x1024", ((1, 4096), (4096, 1024)), 2 * 4096 * 1024, lambda a, b: a @ b, moved=4096 * 1025),
    variant("1024x4096 @ 4096x1", ((1024, 4096), (4096, 1)), 2 * 4096 * 1024, lambda a, b: a @ b, moved=4096 * 1025),
]
