"""Fixed rules that make loops fast on a processor: inline, tile, vectorize, run in parallel.

A function with a product (a reduction over more than a few elements) is tiled so that a block of the result stays in
registers while the inner axis is walked; what comes after it, such as a bias and relu, is computed for the tile while
it is near. Every other function is one loop nest: its outer loops run in parallel, its innermost is vectorized.
"""

from typing import Any

import tvm
from tvm import s_tir

ROWS, COLUMNS, VECTOR = 4, 64, 16  # a tile of the result in registers; the widest vector
ALONE = 16384  # elements that are not worth a second thread
DONE = "tirx.is_scheduled"  # TVM's mark of a function whose schedule stands


def scheduled(module: Any) -> Any:
    """The module with each function of loops scheduled; one that a rule does not fit, or that is, stays as it is."""
    updated = module.clone()
    for variable, function in module.functions_items():
        if isinstance(function, tvm.tirx.PrimFunc) and not (function.attrs and DONE in function.attrs):
            updated[variable] = _scheduled(function)
    return updated


def _scheduled(function: Any) -> Any:
    for rule in (_product, _rows):
        sch = s_tir.Schedule(tvm.IRModule({"main": function}))
        try:
            rule(sch)
        except (s_tir.ScheduleError, _UnfitError):
            continue
        return sch.mod["main"].with_attr(DONE, True)
    return function


class _UnfitError(Exception):
    pass


def _product(sch: Any) -> None:
    """A tile of the result in registers, and what follows it while it is near."""
    blocks = _blocks(sch)
    sums = [block for block in blocks if _reduces(sch, block)]
    if len(sums) != 1:
        raise _UnfitError
    product, output = sums[0], blocks[-1]
    spatial, reduction = _loops(sch, product)
    if len(spatial) < 2 or not reduction or _size(sch, reduction) < VECTOR:
        raise _UnfitError
    for block in blocks:
        if block is not product and block is not output:
            sch.compute_inline(block)
    *batch, i, j = spatial
    rows, columns = _divisor(sch, i, ROWS), _divisor(sch, j, COLUMNS)
    i_outer, i_inner = sch.split(i, [None, rows])
    j_outer, j_inner = sch.split(j, [None, columns])
    sch.reorder(*batch, i_outer, j_outer, *reduction, i_inner, j_inner)
    if output is not product:
        sch.reverse_compute_at(output, j_outer)
        _vectorize_last(sch, output)
    parts = _vectorize(sch, j_inner)
    sch.unroll(i_inner)
    if parts is not None:
        sch.unroll(parts)
    sch.parallel(sch.fuse(*batch, i_outer))
    start = sch.decompose_reduction(product, reduction[0])
    _vectorize_last(sch, start)


def _rows(sch: Any) -> None:
    """One loop nest, or one for each reduction and one behind them."""
    *before, output = _blocks(sch)
    for block in before:
        if not _reduces(sch, block):
            try:
                sch.compute_inline(block)
            except s_tir.ScheduleError:
                _flat(sch, block)
        else:
            _outer_parallel(sch, block)
    if _reduces(sch, output):
        _outer_parallel(sch, output)
    else:
        _flat(sch, output)


def _flat(sch: Any, block: Any) -> None:
    """All elements in one row: parts of it in parallel, each by vectors."""
    loops = sch.get_loops(block)
    if not loops:
        return
    whole = sch.fuse(*loops)
    vector = _divisor(sch, whole, VECTOR)
    outer, inner = sch.split(whole, [None, vector])
    if vector > 1:
        sch.vectorize(inner)
    if int(sch.get(outer).extent) > ALONE // VECTOR:
        sch.parallel(outer)


def _outer_parallel(sch: Any, block: Any) -> None:
    spatial, _ = _loops(sch, block)
    if spatial and int(sch.get(spatial[0]).extent) > 1:
        sch.parallel(spatial[0])


def _blocks(sch: Any) -> list[Any]:
    """The blocks of a function in order, without the one around them all."""
    return list(sch.get_child_blocks(sch.get_sblock("root")))


def _reduces(sch: Any, block: Any) -> bool:
    return any(int(var.iter_type) == 2 for var in sch.get(block).iter_vars)  # IterVar::CommReduce


def _loops(sch: Any, block: Any) -> tuple[list[Any], list[Any]]:
    """The loops around a block: those over its results' axes, and those that are summed over."""
    loops, kinds = sch.get_loops(block), [int(var.iter_type) for var in sch.get(block).iter_vars]
    if len(loops) != len(kinds):
        raise _UnfitError
    split = [[], []]  # type: list[list[Any]]
    for loop, kind in zip(loops, kinds, strict=True):
        split[kind == 2].append(loop)
    return split[0], split[1]


def _size(sch: Any, loops: list[Any]) -> int:
    size = 1
    for loop in loops:
        size *= int(sch.get(loop).extent)
    return size


def _divisor(sch: Any, loop: Any, most: int) -> int:
    """The largest divisor of a loop's extent that is not above `most`."""
    extent = int(sch.get(loop).extent)
    return next(d for d in range(min(most, extent), 0, -1) if extent % d == 0)


def _vectorize(sch: Any, loop: Any) -> Any:
    """The loop as vectors; gives the loop over them, if it takes several."""
    width = _divisor(sch, loop, VECTOR)
    if width == 1:
        return None
    outer, inner = sch.split(loop, [None, width])
    sch.vectorize(inner)
    return outer


def _vectorize_last(sch: Any, block: Any) -> None:
    loops = sch.get_loops(block)
    if loops:
        _vectorize(sch, loops[-1])
