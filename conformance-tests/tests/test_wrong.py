"""Wrong devices are caught, each by the stage that names the cause."""

from collections.abc import Callable

import pytest
from backends import REFERENCE, required
from conftest import Run

# By name: the wrong method, the stage that must fail, and what of the suite is enough to see it.
WRONG = {
    "upload_ignores_offset": ("""
    def upload(self, dst, offset, host):
        super().upload(dst, 0, host)
""", "memory", "parts or exp"),
    "upload_keeps_host_memory": ("""
    def upload(self, dst, offset, host):
        late.append((dst, offset, host))

    def download(self, src, offset, host):
        for waiting in late:
            super().upload(*waiting)
        late.clear()
        super().download(src, offset, host)

    def host_view(self, buffer):
        return None

late = []
""", "memory", "host_memory or exp"),
    "download_is_short": ("""
    def download(self, src, offset, host):
        n = host.nbytes - (host.nbytes > 100)
        np.frombuffer(host, np.uint8)[:n] = src.raw[offset : offset + n]
""", "memory", "round_trip or exp"),
    "copy_ignores_negative_strides": ("""
    def copy(self, dst, src):
        strides = tuple(abs(s) for s in src.strides)
        layout = Layout(src.shape, strides, src.layout.span()[0])
        super().copy(dst, View(src.buffer, layout, src.dtype))
""", "copy", "test_copy or exp"),
    "copy_swaps_strides": ("""
    def copy(self, dst, src):
        layout = Layout(src.shape, tuple(sorted(src.strides, reverse=True)), src.offset)
        span = layout.span()
        super().copy(dst, View(src.buffer, layout, src.dtype) if span == src.layout.span() else src)
""", "copy", "test_copy or exp"),
    "kernel_ignores_offset": ("""
    def unary(self, kind, dst, x):
        super().unary(kind, dst, View(x.buffer, Layout(x.shape, x.strides, 0), x.dtype))
""", "kernels", "exp"),
    "kernel_writes_past_the_end": ("""
    def binary(self, kind, dst, a, b):
        super().binary(kind, dst, a, b)
        last = dst.layout.span()[1] * dst.dtype.itemsize
        dst.buffer.raw[last : last + 1] ^= 0xFF
""", "kernels", "add["),
    "max_loses_nan": ("""
    def reduce(self, kind, dst, x, rows, n):
        if kind is Reduce.MAX and n and x.dtype.is_float:
            write(dst, np.fmax.reduce(read(x).reshape(rows, n), axis=1))
        else:
            super().reduce(kind, dst, x, rows, n)
""", "kernels", "max["),
    "sum_skips_a_tail": ("""
    def reduce(self, kind, dst, x, rows, n):
        if kind is Reduce.SUM and n > 8:
            write(dst, read(x).reshape(rows, n)[:, : n // 8 * 8].sum(1, dtype=read(x).dtype))
        else:
            super().reduce(kind, dst, x, rows, n)
""", "kernels", "sum["),
    "halves_accumulate_in_half": ("""
    def reduce(self, kind, dst, x, rows, n):
        if kind is Reduce.SUM and x.dtype == "float16" and n:
            write(dst, np.cumsum(elements(x).reshape(rows, n), axis=1, dtype=np.float16)[:, -1])
        else:
            super().reduce(kind, dst, x, rows, n)
""", "kernels", "sum["),
    "zero_loses_its_sign": ("""
    def unary(self, kind, dst, x):
        super().unary(kind, dst, x)
        if dst.dtype.is_float and kind is Unary.NEG:
            write(dst, read(dst) + 0.0)
""", "kernels", "neg["),
    "cast_rounds_half_up": ("""
    def cast(self, dst, src):
        if dst.dtype == "bfloat16" and src.dtype == "float32":
            bits = np.ascontiguousarray(read(src)).view(np.uint32)
            elements(dst)[...] = ((bits + 0x8000) >> 16).astype(np.uint16).reshape(dst.shape)
        else:
            super().cast(dst, src)
""", "kernels", "cast_to_bfloat16"),
    "batches_share_the_first_matrix": ("""
    def matmul(self, dst, a, b, transpose_a, transpose_b):
        first = View(b.buffer, Layout((1, *b.shape[1:]), b.strides, b.offset), b.dtype)
        super().matmul(dst, a, first if transpose_b else b, transpose_a, transpose_b)
""", "kernels", "matmul["),
    "in_place_reads_what_it_wrote": ("""
    def binary(self, kind, dst, a, b):
        if kind is Binary.SUB and dst.buffer is b.buffer:
            write(dst, read(a))
        super().binary(kind, dst, a, b)
""", "kernels", "sub["),
    "last_index_is_wrong": ("""
    def argmax(self, dst, x, rows, n):
        write(dst, n - 1 - np.argmax(read(x).reshape(rows, n)[:, ::-1], axis=1))
""", "kernels", "argmax["),
    "dilation_is_ignored": ("""
    def conv2d(self, dst, x, w, stride, padding, dilation, groups):
        super().conv2d(dst, x, w, stride, padding, (1, 1), groups)
""", "kernels", "conv2d["),
    "second_result_is_wrong": ("""
    def layer_norm_grad(self, dx, dw, db, *rest):
        super().layer_norm_grad(dx, dw, db, *rest)
        write(dw, read(db))
""", "kernels", "layer_norm"),
    "random_repeats": ("""
    def random(self, kind, dst, seed, offset):
        super().random(kind, dst, seed, offset & 0xFFFFFFFF)
""", "kernels", "uniform[ or rand["),
    "dtypes_are_missing": ("""
    dtypes = frozenset(d for d in DTYPES if d != "int32")
""", "metadata", "test_dtypes or exp"),
    "strided_names_nothing": ("""
    strided = NumpyBackend.strided | {"softmaks"}
""", "metadata", "strided or exp"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_is_caught(name: str, conform: Callable[..., Run]) -> None:
    source, stage, some = WRONG[name]
    run = conform(REFERENCE + source, "-k", some)
    assert run.code == 1, run.text[-4000:]
    assert run.failed == {stage}, run.text[-4000:]
    assert run.counts["blocked"], "later stages are blocked"


def test_the_failure_can_be_run_again(conform: Callable[..., Run]) -> None:
    source = WRONG["kernel_ignores_offset"][0]
    text = conform(REFERENCE + source, "-k", "exp[float32-offset").text
    assert "to reproduce kernels/kernel/exp[float32-offset]" in text
    assert "read: float32 (3, 4, 5), strides (20, 5, 1), offset 7" in text
    assert "t = trial('exp', 'made:0', 'float32', 'offset')" in text


def test_an_op_that_only_composes_wrongly(conform: Callable[..., Run]) -> None:
    """Kernels are right, yet the device says that it reads strides that it does not."""
    source = (
        required("bool int32 float32")
        + """
    strided = frozenset({"where"})

    def where(self, dst, condition, a, b):
        flat = [type(v)(v.buffer, type(v.layout).compact(v.shape), v.dtype) if v.size > 1 else v for v in (a, b)]
        NumpyBackend.where(self, dst, condition, *flat)
"""
    )
    assert conform(source, "-k", "where").failed == {"kernels"}
