"""einsum: sums of products by the names of axes, two operands at a time, each pair as one matrix product."""

from collections.abc import Sequence
from math import prod

from needle.errors import ShapeError, shown
from needle.functions import as_tensor
from needle.tensor import Tensor, TensorLike

_HIDDEN = "₀₁₂₃₄₅₆₇₈₉⁰¹²³⁴⁵"  # names of the axes that an ellipsis stands for, the last one last


def einsum(equation: str, *operands: TensorLike) -> Tensor:
    """`einsum("bij,bjk->bik", a, b)`: axes of one name are multiplied; those that the result lacks are summed over.

    A name twice in one operand takes its diagonal; "..." stands for axes that broadcast. Without "->" the result has
    the names that occur once, in alphabetical order.
    """
    if not isinstance(equation, str):
        raise ShapeError(f"einsum: the equation comes first, as in einsum('ij,jk->ik', a, b), not {shown(equation)}")
    tensors = [as_tensor(x) for x in operands]
    inputs, output = _parse(equation, [x.ndim for x in tensors])
    sizes = _sizes(equation, inputs, tensors)
    named = [_simple(x, names, sizes) for x, names in zip(tensors, inputs, strict=True)]
    total, have = named[0]
    for i, (x, names) in enumerate(named[1:], 1):
        later = set(output).union(*(other for _, other in named[i + 1 :]))
        total, have = _contract(total, have, x, names, later)
    total, have = _summed(total, have, set(output))
    missing = [name for name in output if name not in have]  # of size 1 everywhere, or broadcast
    total = total.reshape(*total.shape, *(1 for _ in missing))
    order = [(*have, *missing).index(name) for name in output]
    return total.permute(tuple(order)).broadcast_to(tuple(sizes[name] for name in output))


def _parse(equation: str, ranks: Sequence[int]) -> tuple[list[str], str]:
    """The names of each operand's axes and of the result's, every ellipsis written out."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(ranks):
        raise ShapeError(f"einsum: {equation!r} names {len(terms)} operands, {len(ranks)} are given")
    inputs = [_written_out(equation, term, rank) for term, rank in zip(terms, ranks, strict=True)]
    hidden = max((_hidden(names) for names in inputs), key=len)
    if not arrow:
        joined = "".join(inputs)
        return inputs, hidden + "".join(sorted(n for n in set(joined) - set(hidden) if joined.count(n) == 1))
    output = right.replace("...", hidden)
    unknown = [name for name in output if all(name not in names for names in inputs)]
    if unknown or len(set(output)) != len(output):
        raise ShapeError(f"einsum: the result of {equation!r} takes names of the operands, each once")
    return inputs, output


def _written_out(equation: str, term: str, rank: int) -> str:
    """A term with names for the axes of its ellipsis, which are counted from the last."""
    letters = term.replace("...", "", 1)
    count = rank - len(letters)
    if count < 0 or (count and "..." not in term) or not (letters + "a").isalpha():
        raise ShapeError(f"einsum: {term!r} in {equation!r} does not fit an operand of rank {rank}")
    return term.replace("...", _HIDDEN[len(_HIDDEN) - count :], 1)


def _hidden(names: str) -> str:
    return "".join(name for name in names if name in _HIDDEN)


def _sizes(equation: str, inputs: Sequence[str], tensors: Sequence[Tensor]) -> dict[str, int]:
    """The size of each name; an axis of size 1 stretches."""
    sizes: dict[str, int] = {}
    for names, x in zip(inputs, tensors, strict=True):
        for name, n in zip(names, x.shape, strict=True):
            known = sizes.setdefault(name, n)
            if known == 1:
                sizes[name] = n
            elif n not in (1, known):
                shapes = ", ".join(str(t.shape) for t in tensors)
                raise ShapeError(f"einsum: {known} and {n} differ under one name in {equation!r}: shapes are {shapes}")
    return sizes


def _simple(x: Tensor, names: str, sizes: dict[str, int]) -> tuple[Tensor, str]:
    """An operand with each name once, and without the axes that would have to stretch."""
    for name in dict.fromkeys(names):
        while names.count(name) > 1:
            i = names.index(name)
            x, names = _diagonal(x, i, names.index(name, i + 1)), names[:i] + names[i + 1 :]
    for i in reversed(range(x.ndim)):
        if x.shape[i] != sizes[names[i]]:
            x, names = x.squeeze(i), names[:i] + names[i + 1 :]
    return x, names


def _diagonal(x: Tensor, i: int, j: int) -> Tensor:
    """Elements with equal positions on axes i < j, at j's place: every (n + 1)-th where the two are one axis."""
    n = x.shape[i]
    if x.shape[j] != n:
        raise ShapeError(f"einsum: a diagonal of {n} and {x.shape[j]}: shape is {x.shape}")
    rest = [a for a in range(x.ndim) if a not in (i, j)]
    flat = x.permute((*rest, i, j)).reshape(*(x.shape[a] for a in rest), n * n)[..., :: n + 1]
    order = list(range(len(rest)))
    order.insert(j - 1, len(rest))
    return flat.permute(tuple(order))


def _summed(x: Tensor, names: str, kept: set[str]) -> tuple[Tensor, str]:
    """Without the names that nobody needs."""
    gone = tuple(i for i, name in enumerate(names) if name not in kept)
    return x.sum(gone) if gone else x, "".join(name for name in names if name in kept)


def _contract(a: Tensor, a_names: str, b: Tensor, b_names: str, later: set[str]) -> tuple[Tensor, str]:
    """The product of two operands, summed over the common names that are not needed later."""
    a, a_names = _summed(a, a_names, later | set(b_names))
    b, b_names = _summed(b, b_names, later | set(a_names))
    common = [name for name in a_names if name in b_names]
    batch = "".join(name for name in common if name in later)
    inner = "".join(name for name in common if name not in later)
    a_rest = "".join(name for name in a_names if name not in common)
    b_rest = "".join(name for name in b_names if name not in common)
    shape = {**dict(zip(a_names, a.shape, strict=True)), **dict(zip(b_names, b.shape, strict=True))}
    sizes = [prod(shape[name] for name in names) for names in (batch, a_rest, inner, b_rest)]
    left = _ordered(a, a_names, batch + a_rest + inner).reshape(sizes[0], sizes[1], sizes[2])
    right = _ordered(b, b_names, batch + inner + b_rest).reshape(sizes[0], sizes[2], sizes[3])
    product = left @ right if inner else left * right
    names = batch + a_rest + b_rest
    return product.reshape(tuple(shape[name] for name in names)), names


def _ordered(x: Tensor, names: str, wanted: str) -> Tensor:
    return x.permute(tuple(names.index(name) for name in wanted))
