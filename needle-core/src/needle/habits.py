"""What names of PyTorch are called here, for the errors about names that Needle does not have."""

# Of tensors, and of functions of tensors.
_NAMES = {
    "amax": "max(axes)", "amin": "min(axes)", "bmm": "matmul", "cat": "needle.concatenate(tensors, axis)",
    "chunk": "needle.split(x, n, axis)", "clamp": "needle.clip(x, low, high)", "clip": "needle.clip(x, low, high)",
    "clone": "x + 0", "concat": "needle.concatenate(tensors, axis)", "contiguous_": "contiguous()", "dim": "ndim",
    "div": "needle.divide(x, y)", "dot": "matmul", "double": "astype('float64')", "eq": "needle.equal(x, y)",
    "expand": "broadcast_to(shape)", "expand_as": "broadcast_to(other.shape)", "flatten": "reshape(n, -1)",
    "float": "astype('float32')", "from_numpy": "needle.Tensor(array)", "ge": "needle.greater_equal(x, y)",
    "gt": "needle.greater(x, y)", "half": "astype('float16')", "hstack": "needle.concatenate(tensors, 1)",
    "index_select": "x[..., index]", "inference_mode": "needle.no_grad()", "int": "astype('int32')",
    "le": "needle.less_equal(x, y)", "long": "astype('int64')", "lt": "needle.less(x, y)",
    "masked_fill": "needle.masked_fill(x, mask, value)", "masked_select": "x[mask]", "mm": "matmul",
    "movedim": "needle.moveaxis(x, source, destination)", "mul": "needle.multiply(x, y)", "narrow": "x[start:stop]",
    "ne": "needle.not_equal(x, y)", "neg": "needle.negative(x)", "norm": "needle.vector_norm(x)", "numel": "size",
    "outer": "needle.outer(a, b)", "pow": "needle.power(x, y)", "rand_like": "needle.rand(*x.shape)",
    "randn_like": "needle.randn(*x.shape)", "ravel": "reshape(-1)", "repeat": "needle.tile(x, counts)",
    "repeat_interleave": "needle.repeat(x, n, axis)", "roll": "needle.roll(x, shift)", "scatter_": "scatter_add",
    "select": "x[index]", "sort": "needle.sort(x)", "split": "needle.split(x, sizes, axis)",
    "sub": "needle.subtract(x, y)", "swapaxes": "transpose((a, b))", "t": "T", "take_along_dim": "gather(index, axis)",
    "tile": "needle.tile(x, counts)", "topk": "needle.topk(x, k)", "tril": "needle.tril(x)", "triu": "needle.triu(x)",
    "type": "astype(dtype)", "unbind": "needle.unstack(x, axis)", "unsqueeze": "expand_dims(axis)",
    "view": "reshape(shape)", "view_as": "reshape(other.shape)", "vstack": "needle.concatenate(tensors, 0)",
}  # fmt: skip
_METHODS = {"cpu": "to('cpu')", "cuda": "to('cuda')"}  # as functions, they are devices


def hint(name: str, method: bool = False) -> str:
    """The end of an error about a name that is missing: what it is here, where that is known."""
    names = _NAMES | _METHODS if method else _NAMES
    written = name.endswith("_") and not name.startswith("_")
    if written and name.rstrip("_") in ("add", "sub", "mul", "div", "zero", "fill", "copy", "clamp", "masked_fill"):
        return "; Needle writes in place by x[...] = values, inside `with needle.no_grad():`"
    return f"; in Needle it is {names[name]}" if name in names else ""
