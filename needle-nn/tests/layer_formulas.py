"""What layers compute, in NumPy: the slow and plain form that the tables of the tests hold them to."""

from math import erf, sqrt
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


def array(tensor: Any) -> Any:
    """A parameter in float64; 0 for None."""
    return np.zeros(1) if tensor is None else tensor.numpy().astype(np.float64)


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def gelu(x: Any) -> Any:
    return x * 0.5 * (1 + np.vectorize(erf)(x / sqrt(2)))


def softmax(x: Any) -> Any:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def affine(x: Any, layer: Any) -> Any:
    return x @ array(layer.weight) + array(layer.bias)


def conv2d(x: Any, layer: Any) -> Any:
    """Each group of channels: windows of the padded image times the kernel."""
    pairs = [v if isinstance(v, tuple) else (v, v) for v in (layer.stride, layer.padding, layer.dilation)]
    return _conv2d(x, array(layer.weight), *pairs, layer.groups) + array(layer.bias).reshape(-1, 1, 1)


def conv1d(x: Any, layer: Any) -> Any:
    pairs = (1, layer.stride), (0, layer.padding), (1, layer.dilation)
    y = _conv2d(x[:, :, None], array(layer.weight)[None], *pairs, layer.groups)[:, :, 0]
    return y + array(layer.bias).reshape(-1, 1)


def _conv2d(x: Any, w: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
    around = np.pad(x, [(0, 0), (0, 0), *((p, p) for p in padding)])
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, w.shape, strict=False)]
    windows = sliding_window_view(around, reach, (2, 3))[:, :, :: stride[0], :: stride[1]]
    windows = windows[..., :: dilation[0], :: dilation[1]]
    per_in, per_out = w.shape[2], w.shape[3] // groups
    parts = [
        np.einsum(
            "nchwkl,klco->nohw",
            windows[:, g * per_in : (g + 1) * per_in],
            w[..., g * per_out : (g + 1) * per_out],
        )
        for g in range(groups)
    ]
    return np.concatenate(parts, 1)


def conv_transpose2d(x: Any, layer: Any) -> Any:
    """Each element of x spreads the kernel, times itself, over its place in the result."""
    (sh, sw), (ph, pw), (eh, ew), (dh, dw) = (
        v if isinstance(v, tuple) else (v, v)
        for v in (layer.stride, layer.padding, layer.output_padding, layer.dilation)
    )
    w = array(layer.weight)
    (kh, kw, per_out, _), (n, c, h, width) = w.shape, x.shape
    y = np.zeros(
        (n, per_out * layer.groups, (h - 1) * sh + dh * (kh - 1) + 1 + eh, (width - 1) * sw + dw * (kw - 1) + 1 + ew)
    )
    for g in range(layer.groups):
        into = slice(g * per_out, (g + 1) * per_out)
        of = slice(g * c // layer.groups, (g + 1) * c // layer.groups)
        for i in range(h):
            for j in range(width):
                spread = np.einsum("nc,kloc->nokl", x[:, of, i, j], w[..., of])
                rows, columns = (
                    slice(i * sh, i * sh + dh * (kh - 1) + 1, dh),
                    slice(j * sw, j * sw + dw * (kw - 1) + 1, dw),
                )
                y[:, into, rows, columns] += spread
    return y[:, :, ph : y.shape[2] - ph, pw : y.shape[3] - pw] + array(layer.bias).reshape(-1, 1, 1)


def adaptive_pool(x: Any, size: tuple[int, int]) -> Any:
    """The mean of each window from floor(i * n / m) to ceil((i + 1) * n / m), on both axes."""
    (h, w), (m, k) = x.shape[2:], size
    rows = [slice(i * h // m, -(-(i + 1) * h // m)) for i in range(m)]
    columns = [slice(j * w // k, -(-(j + 1) * w // k)) for j in range(k)]
    return np.stack([np.stack([x[:, :, r, c].mean((2, 3)) for c in columns], -1) for r in rows], -2)


def pool(x: Any, size: tuple[int, int], stride: tuple[int, int], padding: int, reduce: Any, fill: float) -> Any:
    around = np.pad(x, [(0, 0), (0, 0), (padding, padding), (padding, padding)], constant_values=fill)
    return reduce(sliding_window_view(around, size, (2, 3))[:, :, :: stride[0], :: stride[1]], axis=(-2, -1))


def standardized(x: Any, axes: Any, eps: float = 1e-5) -> Any:
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + eps)


def instance_norm(x: Any, layer: Any) -> Any:
    y = standardized(x, (2, 3))
    return y if layer.weight is None else y * array(layer.weight)[:, None, None] + array(layer.bias)[:, None, None]


def batch_norm(x: Any, layer: Any) -> Any:
    channel = (-1, *(1 for _ in x.shape[2:]))
    rest = (0, *range(2, x.ndim))
    return standardized(x, rest) * array(layer.weight).reshape(channel) + array(layer.bias).reshape(channel)


def running_batch_norm(x: Any, layer: Any) -> Any:
    channel = (-1, *(1 for _ in x.shape[2:]))
    mean, var = (array(t).reshape(channel) for t in (layer.running_mean, layer.running_var))
    z = (x - mean) / np.sqrt(var + layer.eps)
    return z * array(layer.weight).reshape(channel) + array(layer.bias).reshape(channel)


def layer_norm(x: Any, layer: Any) -> Any:
    axes = tuple(range(-len(layer.normalized_shape), 0))
    return standardized(x, axes) * array(layer.weight) + array(layer.bias)


def rms_norm(x: Any, layer: Any) -> Any:
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + layer.eps) * array(layer.weight)


def group_norm(x: Any, layer: Any) -> Any:
    grouped = x.reshape(x.shape[0], layer.num_groups, -1)
    channel = (-1, *(1 for _ in x.shape[2:]))
    z = standardized(grouped, -1).reshape(x.shape)
    return z * array(layer.weight).reshape(channel) + array(layer.bias).reshape(channel)


def products(x: Any, h: Any, cell: Any) -> tuple[Any, Any]:
    return x @ array(cell.W_ih) + array(cell.bias_ih), h @ array(cell.W_hh) + array(cell.bias_hh)


def rnn_cell(x: Any, h: Any, cell: Any) -> Any:
    total = sum(products(x, h, cell))
    return np.tanh(total) if cell.nonlinearity == "tanh" else np.maximum(total, 0)


def lstm_cell(x: Any, state: Any, cell: Any) -> Any:
    h, c = state
    i, f, g, o = np.split(sum(products(x, h, cell)), 4, -1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def gru_cell(x: Any, h: Any, cell: Any) -> Any:
    (x_r, x_z, x_n), (h_r, h_z, h_n) = (np.split(part, 3, -1) for part in products(x, h, cell))
    r, z = sigmoid(x_r + h_r), sigmoid(x_z + h_z)
    return (1 - z) * np.tanh(x_n + r * h_n) + z * h


def walk(x: Any, cells: Any, formula: Any, states: Any) -> Any:
    """The top states at all times, then the last state of each cell."""
    last = []
    for cell, state in zip(cells, states, strict=True):
        hidden = []
        for step in x:
            state = formula(step, state, cell)
            hidden.append(state[0] if isinstance(state, tuple) else state)
        x = np.stack(hidden)
        last.append(state)
    return x, last


def attention(q: Any, k: Any, v: Any, causal: bool) -> tuple[Any, Any]:
    scores = q @ k.swapaxes(-1, -2) / sqrt(q.shape[-1])
    if causal:
        scores = np.where(np.tri(*scores.shape[-2:], scores.shape[-1] - scores.shape[-2]), scores, -np.inf)
    probs = softmax(scores)
    return probs @ v, probs


def attention_layer(q: Any, layer: Any, k: Any = None, v: Any = None) -> Any:
    def heads(x: Any, norm: Any, projection: Any) -> Any:
        y = affine(layer_norm(x, norm), projection)
        return y.reshape(*y.shape[:2], layer.num_head, layer.dim_head).swapaxes(1, 2)

    query = heads(q, layer.prenorm_q, layer.q_projection)
    key = heads(q if k is None else k, layer.prenorm_k, layer.k_projection)
    value = heads(q if v is None else v, layer.prenorm_v, layer.v_projection)
    result, _ = attention(query, key, value, layer.attn.causal)
    return affine(result.swapaxes(1, 2).reshape(*q.shape[:2], -1), layer.out_projection)


def transformer_layer(x: Any, layer: Any) -> Any:
    x = x + attention_layer(x, layer.attn)
    hidden = np.maximum(affine(layer_norm(x, layer.norm), layer.linear1), 0)
    return x + affine(hidden, layer.linear2)


def transformer(x: Any, model: Any) -> Any:
    x = x if model.batch_first else x.swapaxes(0, 1)
    x = x + array(model.positions.weight)[: x.shape[1]]
    for layer in model.layers:
        x = transformer_layer(x, layer)
    return x if model.batch_first else x.swapaxes(0, 1)
