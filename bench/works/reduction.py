"""Reductions of 64 MiB over every axis, and over all."""

from typing import Any

import torch

import needle as ndl
from bench.work import Work, function, normal

N = 1 << 24


def over(name: str, shape: tuple[int, ...], ours: Any, theirs: Any = None, **facts: Any) -> Work:
    return function("reduction", name, normal(shape), ours, theirs or ours, moved=N, tolerance=1e-4, **facts)


WORKS = [
    over("sum of all", (4096, 4096), lambda x: x.sum(), quick=True),
    over("sum of rows (4096, 4096)", (4096, 4096), lambda x: x.sum(1), quick=True),
    over("sum of columns (4096, 4096)", (4096, 4096), lambda x: x.sum(0), quick=True),
    over("sum of short rows (262144, 64)", (262144, 64), lambda x: x.sum(1)),
    over("sum of long columns (262144, 64)", (262144, 64), lambda x: x.sum(0)),
    over("sum of long rows (16, 1048576)", (16, 1048576), lambda x: x.sum(1)),
    over("sum of short columns (16, 1048576)", (16, 1048576), lambda x: x.sum(0)),
    over("sum over the middle (256, 256, 256)", (256, 256, 256), lambda x: x.sum(1)),
    over("sum over first and last", (256, 256, 256), lambda x: x.sum((0, 2))),
    over("sum of images (64, 64, 64, 64) by channel", (64, 64, 64, 64), lambda x: x.sum((0, 2, 3))),
    over("max of all", (4096, 4096), lambda x: x.max()),
    over("max of rows (4096, 4096)", (4096, 4096), lambda x: x.max(1), lambda x: torch.amax(x, 1), quick=True),
    over("max of long rows (16, 1048576)", (16, 1048576), lambda x: x.max(1), lambda x: torch.amax(x, 1)),
    over("max of columns (4096, 4096)", (4096, 4096), lambda x: x.max(0), lambda x: torch.amax(x, 0)),
    over("mean of rows (4096, 4096)", (4096, 4096), lambda x: x.mean(1)),
    over("var of rows (4096, 4096)", (4096, 4096), lambda x: x.var(1), lambda x: torch.var(x, 1, correction=0)),
    over("argmax of rows (4096, 4096)", (4096, 4096), lambda x: x.argmax(1), lambda x: torch.argmax(x, 1)),
    over("logsumexp of rows (4096, 4096)", (4096, 4096), lambda x: ndl.logsumexp(x, 1),
         lambda x: torch.logsumexp(x, 1)),
    function("reduction", "cumsum of rows (4096, 4096)", normal((4096, 4096)), lambda x: x.cumsum(1),
             lambda x: x.cumsum(1), moved=2 * N, tolerance=1e-4),
]  # fmt: skip
