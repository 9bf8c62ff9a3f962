"""The backend protocol, version 1: what a device must offer, method by method.

A backend is one object per device. Four memory functions make it work at all; six kernels make it a device
of its own; everything further is optional and is composed from those by core where it is missing. A method that
a backend does not override is not native: core composes it on the device, or runs it on the host and says so.

Rules that core keeps, so that kernels need not check:

- `dst` is allocated, has the result's shape and dtype, is contiguous (perhaps at an offset; for the ops of a backend's
  `keeps_order` it may lie as x does instead) and shares no element with itself. It overlaps no operand, except that
  in the ops of IN_PLACE it may be the very view of one (an update in place); the optimizers' steps, and `scatter_add`
  its dst, read what they write by their nature.
- Each operand of an elementwise kernel has `dst`'s shape or has one element (size 1, any rank).
- Operands are contiguous, perhaps at an offset, unless the op's name stands in the backend's `strided`.
  `copy` is the exception: it reads and writes any strides, 0 (in `src`) and negative ones too.
- Operands live on this device, and `supports` has answered None for their dtypes.

Rules that a backend keeps: work is done in the order of the calls; a buffer may be dropped as soon as its last
call has returned; only `download`, `upload` and `synchronize` may wait; a failure is raised by the call or by the
next wait, as OutOfMemoryError or KernelError. Calls may come from several threads: whoever minds has a lock. The size
of an allocation or a transfer may be 0, and so may every extent; a kernel then writes what there is, perhaps nothing.

Arithmetic that dtypes share (`reference.py` defines all of it, `include/needle/functors.h` says it in C++):

- Ints wrap around. A bool counts as 0 or 1 (core asks for no sums of bools); BITWISE_NOT of a bool is `not`. Halves
  are computed in float32 and rounded once, when they are stored.
- Ints divided by 0: floor_divide and remainder give 0; the smallest int by -1 is itself. Negative powers of ints are
  rounded to 0. A shift by a negative number, or by the width or more, moves every bit out.
- Floats follow IEEE 754, and NumPy where that is silent: NaN wins in maximum and minimum, a remainder has the
  divisor's sign, also if it is 0. abs and sign of -0.0 are 0.0, relu gives either zero; sqrt, floor, sin and their
  like keep it.
- Sums and products combine in any order. Nothing sums to 0, multiplies to 1; its maximum is the smallest value of the
  dtype (-inf of floats), its minimum the largest.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import pluggy

from needle.dtype import DType
from needle.errors import UnsupportedError
from needle.expression import Expression
from needle.kinds import Binary, Kind, Pool, Random, Reduce, Unary
from needle.layout import Layout
from needle.shape import Shape

PROTOCOL = (1, 0)
IN_PLACE = frozenset({"unary", "binary", "binary_scalar", "where"})  # elementwise: dst may be the view of an operand
BYTES = ("used", "held", "peak", "peak_held", "packed", "pinned", "total", "free")  # counted in bytes by memory_stats
GROUP = "needle.backends"  # the entry-point group that backends register under


Pair: TypeAlias = tuple[int, int]  # (vertical, horizontal)


class Buffer(Protocol):
    """Memory on a device, freed with its last reference. What else it holds is the backend's business; one that keeps
    copies of the contents in another order, such as packed weights, says their bytes as `packed`."""

    @property
    def nbytes(self) -> int: ...


class Recording(Protocol):
    """Calls of a backend's methods that the device has taken down; see `Backend.recording`."""

    @property
    def note(self) -> str:
        """One line for people: how the calls are repeated and, if not by one command, why."""

    def update(self, call: int, args: tuple[Any, ...]) -> None:
        """From the next run on, the call of that number has these arguments: the same views, other numbers."""

    def run(self) -> None:
        """Make all calls."""


class View:
    """An array as kernels see it: a buffer, a layout in it, and an element type."""

    __slots__ = ("buffer", "dtype", "layout")

    def __init__(self, buffer: Any, layout: Layout, dtype: DType) -> None:
        self.buffer = buffer
        self.layout = layout
        self.dtype = dtype

    @property
    def shape(self) -> Shape:
        return self.layout.shape

    @property
    def strides(self) -> Shape:
        """In elements, not bytes."""
        return self.layout.strides

    @property
    def offset(self) -> int:
        """Elements of the buffer before the first of the view."""
        return self.layout.offset

    @property
    def size(self) -> int:
        return self.layout.size


def views_in(arg: Any) -> Sequence[View]:
    """The views of one argument of a primitive: itself, those of a list of parameters, or none."""
    if isinstance(arg, View):
        return (arg,)
    return [view for view in arg if isinstance(view, View)] if isinstance(arg, list | tuple) else ()


def map_views(arg: Any, f: Callable[[View], Any]) -> Any:
    """The same argument with something in the place of each of its views."""
    if isinstance(arg, View):
        return f(arg)
    return [f(view) for view in arg] if views_in(arg) else arg


def _missing(name: str) -> Any:
    raise UnsupportedError(f"this backend has no {name}")


class Backend(ABC):
    """One device. Subclass it, write the four memory functions, and add kernels one at a time."""

    dtypes: frozenset[DType]  # what the device can hold: at least float32, int32 and bool
    strided: frozenset[str] = frozenset()  # names of the ops below whose operands may have any strides
    # Those among batch_norm, batch_norm_relu, batch_norm_grad, pool2d and pool2d_grad whose dst (dx) may lie as x does:
    # without gaps, its axes in another order. Core then allocates it so, and the next layer finds the order that this
    # one was given.
    keeps_order: frozenset[str] = frozenset()
    # Names of the ops whose result may be the very memory of a contiguous operand of its size and dtype: beside those
    # of IN_PLACE such as read each element, or row, before they write it. Memory planning makes use of them.
    in_place: frozenset[str] = IN_PLACE

    # Memory. Offsets and sizes in bytes; `host` is a contiguous buffer of bytes (a memoryview).

    @abstractmethod
    def allocate(self, nbytes: int) -> Buffer:
        """Memory for `nbytes` (perhaps 0), contents undefined; OutOfMemoryError where there is none."""

    @abstractmethod
    def upload(self, dst: Any, offset: int, host: memoryview) -> None:
        """Copy `host` into `dst`; the host memory may be reused on return."""

    @abstractmethod
    def download(self, src: Any, offset: int, host: memoryview) -> None:
        """Wait for all work on `src`, then copy into `host`; raises what went wrong before."""

    @abstractmethod
    def synchronize(self) -> None:
        """Wait for all work; raises what went wrong before."""

    # The six kernels of a device.

    def copy(self, dst: View, src: View) -> None:
        """dst[...] = src[...]: one shape and dtype, any strides on both sides."""
        _missing("copy")

    def cast(self, dst: View, src: View) -> None:
        """dst = src in dst's dtype. Float to int truncates (beyond the range: unspecified), int to int wraps,
        int to float and float to float round to nearest even, once (an int on its way to a half perhaps to float32
        first); anything to bool is `!= 0`."""
        _missing("cast")

    def unary(self, kind: Unary, dst: View, x: View) -> None:
        """dst = kind(x); dst's dtype is x's, or bool for the predicates."""
        _missing("unary")

    def binary(self, kind: Binary, dst: View, a: View, b: View) -> None:
        """dst = kind(a, b); a and b have one dtype, which is dst's, or dst's is bool for comparisons."""
        _missing("binary")

    def where(self, dst: View, condition: View, a: View, b: View) -> None:
        """dst = a where condition (bool), else b."""
        _missing("where")

    def reduce(self, kind: Reduce, dst: View, x: View, rows: int, n: int) -> None:
        """dst[r] = kind over x[r, :]. x's leading axes count `rows`, its trailing axes `n`, perhaps 0 of them."""
        _missing("reduce")

    # Optional: each has a composed default in `composed.py`.

    def binary_scalar(self, kind: Binary, dst: View, x: View, scalar: float | int | bool, swapped: bool) -> None:
        """dst = kind(x, scalar), or kind(scalar, x) if swapped. The scalar is first rounded to x's dtype."""
        _missing("binary_scalar")

    def elementwise(
        self, dsts: Sequence[View], srcs: Sequence[View], expression: Expression, scalars: Sequence[float]
    ) -> None:
        """Several elementwise functions in one pass: `expression` says which, over the elements of `srcs`, and which
        of its values are written to `dsts`. All have as many elements as the results, or one; in row-major order. A
        result overlaps no operand, unless `in_place` has the op. If strided, srcs have any strides."""
        _missing("elementwise")

    def elementwise_reduce(
        self, dst: View, srcs: Sequence[View], expression: Expression, scalars: Sequence[float],
        kind: Reduce, rows: int, n: int,
    ) -> None:  # fmt: skip
        """dst[r] = kind over the elements r * n to (r + 1) * n of the one result of an expression, which is never in
        memory as a whole. The rest as for `elementwise` and `reduce`."""
        _missing("elementwise_reduce")

    def matmul(self, dst: View, a: View, b: View, transpose_a: bool, transpose_b: bool) -> None:
        """dst (B, m, n) = a (B, m, k) @ b (B, k, n); a flag says that its operand is stored with the last two axes
        swapped. B of an operand may be 1, meaning the same matrix for all. float32 accumulation for halves.
        If strided: batch strides are any, row strides at least the width, and the last stride is 1."""
        _missing("matmul")

    def linear(self, dst: View, a: View, b: View, bias: View, transpose_b: bool, activation: Unary | None) -> None:
        """dst (m, n) = activation(a (m, k) @ b (k, n) + bias (n,)); b is stored (n, k) if transpose_b. If strided, the
        rows of a and b may lie further apart than their width; bias is always contiguous."""
        _missing("linear")

    def gather(self, dst: View, x: View, index: View) -> None:
        """dst[i, j, k] = x[i, index[i, j, k], k] for x (outer, n, inner); index is int32 or int64, 0 <= index < n,
        of dst's shape and with any strides. An index out of range: IndexRangeError, or an unspecified value."""
        _missing("gather")

    def scatter_add(self, dst: View, index: View, src: View) -> None:
        """dst[i, index[i, j, k], k] += src[i, j, k], repeated indices added up; shapes and index as in gather."""
        _missing("scatter_add")

    def argmax(self, dst: View, x: View, rows: int, n: int) -> None:
        """dst[r] (int32 or int64) = the first position of the largest of x[r, :]; a NaN is larger than all."""
        _missing("argmax")

    def cumsum(self, dst: View, x: View, rows: int, n: int) -> None:
        """dst[r, i] = x[r, 0] + ... + x[r, i]."""
        _missing("cumsum")

    def softmax(self, dst: View, x: View, rows: int, n: int) -> None:
        """dst[r, :] = exp(x[r, :] - max) / sum of the same."""
        _missing("softmax")

    def log_softmax(self, dst: View, x: View, rows: int, n: int) -> None:
        """dst[r, :] = x[r, :] - logsumexp(x[r, :])."""
        _missing("log_softmax")

    def softmax_grad(self, dst: View, g: View, y: View, rows: int, n: int) -> None:
        """dst[r, :] = y * (g - sum(g * y)) for y = softmax(x)."""
        _missing("softmax_grad")

    def log_softmax_grad(self, dst: View, g: View, y: View, rows: int, n: int) -> None:
        """dst[r, :] = g - exp(y) * sum(g) for y = log_softmax(x)."""
        _missing("log_softmax_grad")

    def cross_entropy(self, dst: View, logits: View, labels: View) -> None:
        """dst[r] = logsumexp(logits[r, :]) - logits[r, labels[r]]; labels are int32 or int64."""
        _missing("cross_entropy")

    def cross_entropy_grad(self, dst: View, g: View, logits: View, labels: View) -> None:
        """dst[r, :] = g[r] * (softmax(logits[r, :]) - one_hot(labels[r])); g (rows,) or one element for all."""
        _missing("cross_entropy_grad")

    def argsort(self, dst: View, x: View, rows: int, n: int, descending: bool) -> None:
        """dst[r, :] (int32 or int64) = the order that sorts x[r, :]; stable. A NaN is larger than all: last,
        or first if descending."""
        _missing("argsort")

    def conv2d(self, dst: View, x: View, w: View, stride: Pair, padding: Pair, dilation: Pair, groups: int) -> None:
        """dst (N, OH, OW, O) = the correlation of x (N, H, W, C), with `padding` zeros on each side, and
        w (KH, KW, C / groups, O): the sum over k, l, c of
        x[n, i * stride + k * dilation - padding, j * stride + l * dilation - padding, c] * w[k, l, c, o].
        If strided, x and w have any strides: an image stored with channels first comes as a permuted view."""
        _missing("conv2d")

    def conv2d_bias(
        self, dst: View, x: View, w: View, bias: View, stride: Pair, padding: Pair, dilation: Pair, groups: int
    ) -> None:
        """conv2d, and bias (O,) added to each of its channels."""
        _missing("conv2d_bias")

    def conv2d_grad_input(
        self, dst: View, g: View, w: View, stride: Pair, padding: Pair, dilation: Pair, groups: int
    ) -> None:
        """dst (N, H, W, C) = the gradient of conv2d's x, given g of its result."""
        _missing("conv2d_grad_input")

    def conv2d_grad_weight(
        self, dst: View, x: View, g: View, stride: Pair, padding: Pair, dilation: Pair, groups: int
    ) -> None:
        """dst (KH, KW, C / groups, O) = the gradient of conv2d's w, given g of its result."""
        _missing("conv2d_grad_weight")

    def pool2d(self, kind: Pool, dst: View, x: View, size: Pair, stride: Pair, padding: Pair) -> None:
        """dst (N, OH, OW, C) = kind over each window of x (N, H, W, C)."""
        _missing("pool2d")

    def pool2d_grad(
        self, kind: Pool, dst: View, g: View, x: View, y: View, size: Pair, stride: Pair, padding: Pair
    ) -> None:
        """dst (N, H, W, C) = the gradient of pool2d's x, given g of its result y. MAX: of equal elements the first
        of its window, row by row, takes all."""
        _missing("pool2d_grad")

    def layer_norm(self, dst: View, x: View, weight: View, bias: View, rows: int, n: int, eps: float) -> None:
        """dst[r, :] = (x[r, :] - mean) / sqrt(variance + eps) * weight + bias; the variance is biased."""
        _missing("layer_norm")

    def layer_norm_grad(
        self, dx: View, dw: View, db: View, g: View, x: View, weight: View, rows: int, n: int, eps: float
    ) -> None:
        """The gradients of layer_norm's x, weight and bias."""
        _missing("layer_norm_grad")

    def rms_norm(self, dst: View, x: View, weight: View, rows: int, n: int, eps: float) -> None:
        """dst[r, :] = x[r, :] / sqrt(mean(x[r, :]**2) + eps) * weight."""
        _missing("rms_norm")

    def rms_norm_grad(self, dx: View, dw: View, g: View, x: View, weight: View, rows: int, n: int, eps: float) -> None:
        """The gradients of rms_norm's x and weight."""
        _missing("rms_norm_grad")

    def moments(self, mean: View, var: View, x: View) -> None:
        """mean and biased variance (C,) of each channel of x (..., C), over all its other axes."""
        _missing("moments")

    def batch_norm(self, dst: View, x: View, weight: View, bias: View, mean: View, var: View, eps: float) -> None:
        """dst = (x - mean) / sqrt(var + eps) * weight + bias, per channel of x (..., C)."""
        _missing("batch_norm")

    def batch_norm_relu(self, dst: View, x: View, weight: View, bias: View, mean: View, var: View, eps: float) -> None:
        """batch_norm, and relu of its result."""
        _missing("batch_norm_relu")

    def batch_norm_grad(
        self, dx: View, dw: View, db: View, g: View, x: View, weight: View, mean: View, var: View, eps: float,
        training: bool,
    ) -> None:  # fmt: skip
        """The gradients of batch_norm's x, weight and bias; in training mean and var are those of x."""
        _missing("batch_norm_grad")

    def attention(self, dst: View, q: View, k: View, v: View, causal: bool, scale: float) -> None:
        """dst (..., T, E) = softmax(q (..., T, D) @ k (..., S, D).mT * scale) @ v (..., S, E); causal: row i sees
        columns 0 to i."""
        _missing("attention")

    def attention_grad(
        self, dq: View, dk: View, dv: View, g: View, q: View, k: View, v: View, y: View, causal: bool, scale: float
    ) -> None:
        """The gradients of attention's q, k and v, given g of its result y."""
        _missing("attention_grad")

    def lstm(self, dst: View, inputs: View, h: View, c: View, weight: View, bias: View) -> None:
        """dst (6, T, B, H) = h, c and the gates i, f, g, o of each of T times: the gates are sigmoids (g: tanh) of
        inputs[t] (B, 4H) + h @ weight (H, 4H) + bias (4H,), c = f * c + i * g and h = o * tanh(c); h and c (B, H) are
        the state before."""
        _missing("lstm")

    def lstm_grad(
        self, dinputs: View, dh: View, dc: View, wanted_h: Sequence[View], wanted_c: Sequence[View], kept: View,
        c: View, weight: View,
    ) -> None:  # fmt: skip
        """The gradients of lstm's inputs (T, B, 4H), h and c, given those of h at all times (T, B, H) and of the last
        c, each a list of one view or of none, and lstm's result. dinputs is what the weight's and the bias's are made
        of."""
        _missing("lstm_grad")

    def sgd_step(
        self, params: Sequence[View], grads: Sequence[View], velocities: Sequence[View],
        lr: float, momentum: float, dampening: float, weight_decay: float, nesterov: bool,
    ) -> None:  # fmt: skip
        """For each p: g += weight_decay * p; v = momentum * v + (1 - dampening) * g; p -= lr * v
        (nesterov: p -= lr * (g + momentum * v)). Without momentum `velocities` is empty and v is g."""
        _missing("sgd_step")

    def adam_step(
        self, params: Sequence[View], grads: Sequence[View], means: Sequence[View], squares: Sequence[View],
        lr: float, beta1: float, beta2: float, eps: float, weight_decay: float, decoupled: bool, step: int,
    ) -> None:  # fmt: skip
        """For each p: m = beta1 * m + (1 - beta1) * g; s = beta2 * s + (1 - beta2) * g**2;
        p -= lr * (m / (1 - beta1**step)) / (sqrt(s / (1 - beta2**step)) + eps). Weight decay is added to g, or,
        if decoupled (AdamW), p is first multiplied by 1 - lr * weight_decay."""
        _missing("adam_step")

    def random(self, kind: Random, dst: View, seed: int, offset: int) -> None:
        """Element i is lane i % 4 of Philox4x32-10 with key `seed` at counter offset + i // 4; see `philox.py`."""
        _missing("random")

    # Optional, without a default.

    def sequence(
        self, calls: Sequence[tuple[str, tuple[Any, ...]]], moving: Sequence[View]
    ) -> Callable[[], None] | None:
        """A function that makes all these calls of native methods, (name, arguments), one after another and without
        Python between them; or None. It may be called again and again. The buffers of the views in `moving` are read
        anew each time, those of all other views stay."""
        return None

    def recording(
        self, calls: Sequence[tuple[str, tuple[Any, ...]]], moving: Sequence[View], after: Sequence[Sequence[int]]
    ) -> Recording | None:
        """As `sequence`, for a device that can take down work and repeat all of it by one command, such as a CUDA
        graph; or None. `after[i]` are the earlier calls that call i must follow: others may run beside it. A run may
        find buffers of `moving` views replaced, and then takes the work down anew: core sees to it that this is rare.
        Numbers of a call change by `update`. The first run makes each call, so that nothing is left to be prepared."""
        return None

    def set_matmul_precision(self, precision: str) -> None:  # noqa: B027  (there may be nothing to set)
        """How float32 products are made: "highest", exactly, or "high", of operands rounded to TF32 or the like, where
        that is faster. A backend that has but one way ignores it."""

    def copy_from(self, dst: Any, offset: int, src: Any, src_offset: int, nbytes: int) -> bool:
        """Copy bytes from a buffer of another device of this kind, in order with the work of both; or False."""
        return False

    def host_view(self, buffer: Any) -> memoryview | None:
        """The buffer's bytes, writable and without a copy, where its memory is on the host; waits for its work."""
        return None

    def memory_stats(self) -> dict[str, int]:
        """Bytes, as far as the backend counts them: "used", "held" (used or cached), their "peak" and "peak_held",
        "packed" (copies of weights, which are among the used), "pinned" (host memory that copies go through), "total",
        "free". Under any other name a plain count, such as how often the system was asked for memory."""
        return {}

    def versions(self) -> dict[str, str]:
        """Of what lies below the backend, by name, for `needle doctor`: driver, runtime, compiler, libraries."""
        return {}

    def describe(self) -> str:
        """One line for people: the hardware, threads, driver version."""
        return type(self).__name__

    # Capability.

    def implements(self, op: str) -> bool:
        """Whether this class overrides the method of that name."""
        return getattr(type(self), op) is not getattr(Backend, op)

    def supports(self, op: str, kind: Kind | None, dtypes: tuple[DType, ...]) -> str | None:
        """None if the op runs natively on operands of these dtypes (dst first), else the reason why not."""
        return None


@dataclass(frozen=True)
class BackendInfo:
    """What a plug-in says of itself without touching a driver."""

    name: str  # as its entry point: `needle.<name>()` is its device
    protocol: tuple[int, int] = PROTOCOL
    priority: int = 0  # the READY backend of highest priority is the default device; below 0: chosen by name only
    summary: str = ""  # one line for `needle devices`


@dataclass(frozen=True)
class Probe:
    """What a plug-in found: a description per device, or none and the reason."""

    devices: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class ConformanceProfile:
    """What the conformance suite is told: wider tolerances and expected failures, each with a reason.

    `rtol[op, dtype]` replaces the row's relative tolerance; `xfails[pattern]` marks test ids that match (fnmatch).
    """

    rtol: dict[tuple[str, str], float]
    xfails: dict[str, str]


hookspec = pluggy.HookspecMarker("needle")
hookimpl = pluggy.HookimplMarker("needle")


class Hooks:
    """What a backend's plug-in module implements, with `@needle.backend.hookimpl`."""

    @hookspec(firstresult=True)
    def needle_backend_info(self) -> BackendInfo:  # type: ignore[empty-body]  # a hook
        """Name, protocol version, priority. Must not touch a driver or import native code."""

    @hookspec(firstresult=True)
    def needle_probe(self) -> Probe:  # type: ignore[empty-body]  # a hook
        """Which devices there are now, or why none."""

    @hookspec(firstresult=True)
    def needle_create_backend(self, index: int) -> Backend:  # type: ignore[empty-body]  # a hook
        """The backend of device `index`, on its first use."""

    @hookspec(firstresult=True)
    def needle_conformance_profile(self) -> ConformanceProfile:  # type: ignore[empty-body]  # a hook
        """What the suite should know; optional."""
