"""Strided copies: transpositions, slices, flips, broadcasts and joins, of 64 MiB."""

from typing import Any

import torch

import needle as ndl
from bench.work import Work, function, normal

N = 1 << 24


def copied(name: str, shape: tuple[int, ...], ours: Any, theirs: Any = None, **facts: Any) -> Work:
    facts.setdefault("moved", 2 * N)
    return function("strided copies", name, normal(shape), ours, theirs or ours, tolerance=0, **facts)


WORKS = [
    copied("transpose (4096, 4096)", (4096, 4096), lambda x: x.T.contiguous(), quick=True),
    copied("transpose (65536, 256)", (65536, 256), lambda x: x.T.contiguous()),
    copied("transpose (256, 65536)", (256, 65536), lambda x: x.T.contiguous()),
    copied("transpose (4000, 4100)", (4000, 4100), lambda x: x.T.contiguous(), moved=2 * 4000 * 4100),
    copied("NCHW to NHWC", (64, 64, 64, 64), lambda x: x.permute(0, 2, 3, 1).contiguous(), quick=True),
    copied("NHWC to NCHW", (64, 64, 64, 64), lambda x: x.permute(0, 3, 1, 2).contiguous()),
    copied("heads (B, T, H, D) to (B, H, T, D)", (32, 512, 16, 64), lambda x: x.permute(0, 2, 1, 3).contiguous()),
    copied("reverse all axes", (256, 256, 256), lambda x: x.permute(2, 1, 0).contiguous()),
    copied("columns [:, ::2]", (4096, 8192), lambda x: x[:, ::2].contiguous(), moved=3 * N),
    copied("rows [::2]", (8192, 4096), lambda x: x[::2].contiguous(), quick=True),
    copied("inner block", (4224, 4224), lambda x: x[64:4160, 64:4160].contiguous()),
    copied("flip rows", (4096, 4096), lambda x: ndl.flip(x, 0).contiguous(), lambda x: torch.flip(x, (0,))),
    copied("flip columns", (4096, 4096), lambda x: ndl.flip(x, 1).contiguous(), lambda x: torch.flip(x, (1,))),
    copied(
        "broadcast (4096, 1) to (4096, 4096)", (4096, 1),
        lambda x: x.broadcast_to(4096, 4096).contiguous(), lambda x: x.expand(4096, 4096).contiguous(), moved=N,
    ),
    copied("contiguous copy", (4096, 4096), lambda x: ndl.Tensor(x.array.copy()), lambda x: x.clone(), quick=True),
    function(
        "strided copies", "concatenate columns", normal((4096, 2048), (4096, 2048)),
        lambda a, b: ndl.concatenate([a, b], axis=1), lambda a, b: torch.cat([a, b], 1), moved=2 * N, tolerance=0,
    ),
]  # fmt: skip
