"""What functions say of operands that they cannot take: the text begins the error's one line."""

import numpy as np

import needle as ndl
from needle.convolution import Window
from needle.errors import DTypeError, GraphError, IndexRangeError, ShapeError
from needle_conformance.case import Fails

SHAPES = [
    Fails(ndl.add, [(64, 128), (64, 10)], ShapeError,
          "add: cannot broadcast (64, 128) with (64, 10): 128 and 10 differ and neither is 1"),
    Fails(ndl.where, [(3,), (3,), (2,)], ShapeError, "where: cannot broadcast (3,) with (3,) with (2,): 3 and 2"),
    Fails(ndl.matmul, [(64, 128), (256, 10)], ShapeError, "matmul: inner sizes differ, 128 != 256: a is (64, 128)"),
    Fails(ndl.matmul, [(2, 3, 4), (3, 4, 5)], ShapeError, "matmul: cannot broadcast (2,) with (3,)",
          name="matmul_batches"),
    Fails(ndl.matmul, [(), (3,)], ShapeError, "matmul: takes rank 1 or more: a is (), b is (3,)", name="matmul_scalar"),
    Fails(ndl.linear, [(4, 3), (2, 5), (5,)], ShapeError, "linear: inner sizes differ, 3 != 2: x is (4, 3)"),
    Fails(ndl.linear, [(4, 3), (3, 5), (4,)], ShapeError, "linear: bias is (4,), expected (5,) or (1, 5)",
          name="linear_bias"),
    Fails(lambda x: x.sum(2), [(3, 4)], ShapeError, "sum: axis 2 is out of range for rank 2", name="sum"),
    Fails(lambda x: x.sum((0, -2)), [(3, 4)], ShapeError, "sum: axis repeated in (0, -2)", name="sum_twice"),
    Fails(lambda x: x.max(), [(0,)], ShapeError, "max: nothing to choose from over axes (0,): shape is (0,)",
          name="max"),
    Fails(lambda x: x.argmax(1), [(3, 0)], ShapeError, "argmax: nothing to choose from along axis 1", name="argmax"),
    Fails(lambda x: x.cumsum(1), [(3,)], ShapeError, "cumsum: axis 1 is out of range for rank 1", name="cumsum"),
    Fails(lambda x: x.softmax(3), [(3, 4)], ShapeError, "softmax: axis 3 is out of range for rank 2", name="softmax"),
    Fails(lambda x: x.reshape(5, 2), [(3, 4)], ShapeError, "reshape: (3, 4) has 12 elements, (5, 2) has 10",
          name="reshape"),
    Fails(lambda x: x.reshape(5, -1), [(3, 4)], ShapeError, "reshape: 12 elements do not divide into (5, -1)",
          name="reshape_rest"),
    Fails(lambda x: x.permute(0, 0), [(3, 4)], ShapeError, "permute: (0, 0) is no order of the axes of (3, 4)",
          name="permute"),
    Fails(lambda x: x.broadcast_to(3, 5), [(3, 4)], ShapeError, "broadcast_to: (3, 4) does not broadcast to (3, 5)",
          name="broadcast_to"),
    Fails(lambda x: x.squeeze(0), [(3, 4)], ShapeError, "squeeze: axis 0 has size 3, not 1: shape is (3, 4)",
          name="squeeze"),
    Fails(lambda a, b: ndl.concatenate([a, b], 0), [(3, 4), (3, 5)], ShapeError,
          "concatenate: (3, 4) and (3, 5) differ in more than axis 0", name="concatenate"),
    Fails(lambda a, b: ndl.stack([a, b]), [(3, 4), (4, 3)], ShapeError, "stack: (3, 4) and (4, 3) differ",
          name="stack"),
    Fails(lambda x: ndl.split(x, 2), [(3, 4)], ShapeError, "split: 3 do not divide into 2 parts along axis 0",
          name="split"),
    Fails(ndl.cross_entropy, [(3, 4), (4,)], ShapeError, "cross_entropy: takes (rows, classes) and (rows,)",
          dtypes=["float32", "int32"]),
    Fails(lambda x, i: x.gather(i, 0), [(3, 4), (2, 3)], ShapeError, "gather: an index of shape (2, 3) does not fit",
          dtypes=["float32", "int32"], name="gather"),
    Fails(lambda x: x.item(), [(3,)], ShapeError, "item: takes an array of one element: shape is (3,)", name="item"),
    Fails(lambda x: bool(x), [(3,)], ShapeError, "bool: the truth of 3 elements is ambiguous", name="bool"),
    Fails(lambda x: x.array.broadcast_to(2, 3).assign(1), [(3,)], ShapeError,
          "assign: (2, 3) with strides (0, 1) repeats elements", name="assign_repeated"),
]  # fmt: skip

_W = Window()

LAYERS = [
    Fails(lambda x, w: x.conv2d(w, _W), [(4, 5, 2), (3, 3, 2, 4)], ShapeError,
          "conv: takes (N, H, W, C) and (KH, KW, C, O): image is (4, 5, 2), kernel is (3, 3, 2, 4)", name="conv_rank"),
    Fails(lambda x, w: x.conv2d(w, _W), [(1, 4, 5, 2), (3, 3, 3, 4)], ShapeError,
          "conv: the image has 2 channels, the kernel takes 3: image is (1, 4, 5, 2), kernel is (3, 3, 3, 4)",
          name="conv_channels"),
    Fails(lambda x, w: x.conv2d(w, Window(groups=2)), [(1, 4, 5, 3), (2, 2, 1, 4)], ShapeError,
          "conv: 2 groups do not divide 3 channels in and 4 out", name="conv_groups"),
    Fails(lambda x, w: x.conv2d(w, Window(padding=(1, 0), dilation=(1, 3))), [(1, 1, 3, 2), (3, 2, 2, 4)], ShapeError,
          "conv: the kernel (3, 4) is larger than the padded image (3, 3): image is (1, 1, 3, 2)", name="conv_size"),
    Fails(lambda x, w: ndl.conv2d(x, w), [(4, 5, 2), (3, 3, 2, 4)], ShapeError,
          "conv2d: takes (N, C, H, W): x is (4, 5, 2)", name="conv2d"),
    Fails(lambda x, w: ndl.conv2d(x, w, stride=0), [(1, 2, 4, 4), (3, 3, 2, 4)], ShapeError,
          "stride is one int or two, at least 1, not 0", name="conv2d_stride"),
    Fails(lambda x: ndl.max_pool2d(x, 3), [(1, 1, 2, 5)], ShapeError,
          "max_pool2d: the kernel (3, 3) is larger than the padded image (2, 5): x is (1, 1, 2, 5)", name="max_pool2d"),
    Fails(lambda x: ndl.avg_pool2d(x, 2, padding=2), [(1, 1, 4, 4)], ShapeError,
          "avg_pool2d: a padding of (2, 2) is more than half of the window (2, 2)", name="avg_pool2d"),
    Fails(lambda x: ndl.adaptive_avg_pool2d(x, 0), [(1, 1, 6, 4)], ShapeError,
          "output_size is one int or two, at least 1, not 0", name="adaptive_avg_pool2d"),
    Fails(lambda x, w, b: x.layer_norm(w, b), [(3, 5), (5,), (4,)], ShapeError,
          "layer_norm: takes one parameter for each channel, (5,), not (4,): x is (3, 5)", name="layer_norm"),
    Fails(lambda x, w, b: x.layer_norm(w, b), [(3, 0), (0,), (0,)], ShapeError,
          "norm: nothing to normalize along the last axis: shape is (3, 0)", name="layer_norm_none"),
    Fails(lambda x, w: x.rms_norm(w), [(), ()], ShapeError,
          "rms_norm: takes one parameter for each channel, (n,), not (): x is ()", name="rms_norm"),
    Fails(lambda x, w, b, m, v: x.batch_norm(w, b, m, v), [(3, 5), (5,), (5,), (3,), (5,)], ShapeError,
          "batch_norm: takes one parameter for each channel, (5,), not (3,): x is (3, 5)", name="batch_norm"),
    Fails(lambda q, k, v: q.attention(k, v), [(2, 3, 4), (3, 4), (3, 4)], ShapeError,
          "attention: batches differ: q is (2, 3, 4), k is (3, 4), v is (3, 4)", name="attention"),
    Fails(lambda q, k, v: q.attention(k, v), [(3, 4), (5, 2), (5, 4)], ShapeError,
          "attention: q and k share D, k and v share S: q is (3, 4), k is (5, 2), v is (5, 4)", name="attention_width"),
    Fails(lambda x, h, c, w, b: ndl.lstm(x, h, c, w, b), [(3, 2, 8), (2, 2), (2, 3), (2, 8), (8,)], ShapeError,
          "lstm: with inputs (3, 2, 8) and weight (2, 8), h and c are (B, H) and bias is (4H,), "
          "not (2, 2), (2, 3) and (8,)", name="lstm"),
    Fails(lambda x, h, c, w, b: ndl.lstm(x, h, c, w, b), [(0, 2, 8), (2, 2), (2, 2), (2, 8), (8,)], ShapeError,
          "lstm: takes inputs (T, B, 4H) and a weight (H, 4H), not (0, 2, 8) and (2, 8)", name="lstm_none"),
    Fails(lambda x: ndl.topk(x, 5), [(3, 4)], ShapeError, "topk: 5 elements of 4 along axis -1: shape is (3, 4)",
          name="topk"),
    Fails(lambda x: ndl.argsort(x, 2), [(3, 4)], ShapeError, "argsort: axis 2 is out of range for rank 2",
          name="argsort"),
    Fails(lambda x: ndl.pad(x, [(1, 1)]), [(3, 4)], ShapeError,
          "pad: takes (before, after) for each axis, not [(1, 1)]: shape is (3, 4)", name="pad"),
    Fails(lambda a, b: ndl.einsum("ij,jk->ik", a, b), [(3, 4), (5, 2)], ShapeError,
          "einsum: 4 and 5 differ under one name in 'ij,jk->ik': shapes are (3, 4), (5, 2)", name="einsum"),
]  # fmt: skip

INDICES = [
    Fails(lambda x: x[3], [(3, 4)], IndexRangeError, "index: 3 is out of range for axis 0 of size 3", name="index"),
    Fails(lambda x: x[0, -5], [(3, 4)], IndexRangeError, "index: -5 is out of range for axis 1 of size 4",
          name="index_negative"),
    Fails(lambda x: x[0, 0, 0], [(3, 4)], IndexRangeError, "index: 3 indices for rank 2: shape is (3, 4)",
          name="index_rank"),
    Fails(lambda x: x[[0, 7]], [(3, 4)], IndexRangeError, "index: 7 is out of range for axis 0 of size 3",
          name="index_list"),
    Fails(lambda x: x[np.ones(2, bool)], [(3, 4)], IndexRangeError, "index: a mask of shape (2,) does not fit",
          name="index_mask"),
    Fails(lambda x: x[1.5], [(3, 4)], DTypeError, "index: 1.5 is no index", name="index_float"),
]  # fmt: skip

DTYPES = [
    Fails(ndl.add, [(3,), (3,)], DTypeError, "add: not defined for bool", dtypes=["bool", "bool"], name="add_bool"),
    Fails(ndl.bitwise_and, [(3,), (3,)], DTypeError, "bitwise_and: takes ints or bools, not float32"),
    Fails(lambda x: ~x, [(3,)], DTypeError, "bitwise_not: takes ints or bools, not float32", name="bitwise_not"),
    Fails(lambda x: -x, [(3,)], DTypeError, "neg: not defined for bool", dtypes=["bool"], name="neg_bool"),
    Fails(lambda x: x + 2**31, [(3,)], DTypeError, "add: 2147483648 does not fit int32", dtypes=["int32"],
          name="scalar_range"),
    Fails(lambda x: x.astype("float128"), [(3,)], DTypeError, "no dtype 'float128'; there are bool", name="astype"),
    Fails(lambda x, i: x.gather(i, 0), [(3,), (2,)], DTypeError, "gather: the index holds ints, not float32",
          name="gather_float"),
    Fails(lambda x: x.requires_grad_(), [(3,)], DTypeError, "requires_grad: only floats have gradients, not int32",
          dtypes=["int32"], name="requires_grad"),
]  # fmt: skip

GRAPHS = [
    Fails(lambda x: x.backward(), [()], GraphError, "backward: no graph behind this tensor", name="backward"),
    Fails(lambda x: (x.requires_grad_() * 2).backward(), [(3,)], ShapeError, "backward: takes one element",
          name="backward_of_many"),
]  # fmt: skip

FAILS = [*SHAPES, *LAYERS, *INDICES, *DTYPES, *GRAPHS]
