"""All works, by group. A group is one chart."""

from bench.work import Work
from bench.works import (
    accelerator,
    captured,
    convolution,
    eager,
    elementwise,
    matmul,
    movement,
    optimizers,
    reduction,
    rows,
    training,
)

WORKS: list[Work] = [
    *matmul.WORKS, *training.MLP, *training.RESNET9, *captured.WORKS, *elementwise.WORKS, *movement.WORKS,
    *reduction.WORKS, *rows.WORKS, *convolution.WORKS, *training.SEQUENCES, *optimizers.WORKS, *eager.WORKS,
    *accelerator.WORKS,
]  # fmt: skip
