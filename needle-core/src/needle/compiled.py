"""needle.compile: a function of tensors, captured once for each kind of arguments and replayed from then on."""

import functools
import inspect
import logging
import os
import sys
import threading
from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np

from needle import tracing
from needle.compilers import compiler as find_compiler
from needle.dispatch import get_matmul_precision
from needle.errors import ArgumentError, DeviceError
from needle.face import Tensor
from needle.graph import is_grad_enabled
from needle.lending import Lent
from needle.ndarray import NDArray
from needle.precision import autocast_dtype
from needle.program.replay import Making, Program, capture, known_passes
from needle.registry import device as as_device
from needle.trees import flatten, unflatten

log = logging.getLogger("needle.compile")
LIMIT = 16  # programs that a compiled function keeps
_OWN = frozenset({"function", "device", "by", "limit", "programs", "captures", "lock", "passing", "dropped"})


class Compiled:
    """A function that `needle.compile` made of another. Call it as the other; `explain()` tells what it became."""

    def __init__(self, function: Callable[..., Any], device: Any, by: Making, limit: int) -> None:
        functools.update_wrapper(self, function, updated=())
        self.function = function
        self.device = None if device is None else as_device(device)
        self.by = by
        self.limit = limit
        self.programs: dict[Any, list[Program]] = {}
        self.captures = 0
        self.passing = ""  # why the last program was not kept
        self.dropped = 0  # programs that had to go
        self.lock = threading.RLock()

    def __getattr__(self, name: str) -> Any:
        """What the function has, such as the parameters of a module."""
        if "function" not in self.__dict__ or (name.startswith("__") and name.endswith("__")):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self.function, name)

    def __setattr__(self, name: str, value: Any) -> None:
        """On the function, if it is none of this object's own attributes."""
        own = name in _OWN or name.startswith("__") or "function" not in self.__dict__
        object.__setattr__(self, name, value) if own else setattr(self.function, name, value)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if tracing.active is not None:  # within another captured function, it is a part of that one
            return self.function(*args, **kwargs)
        leaves, shape = _flattened(args, kwargs)
        signature = self._signature(leaves, shape)
        if all(leaf.array.layout.compacted for leaf in leaves if isinstance(leaf, Tensor)):
            return self._answer(signature, leaves, shape)[0]
        lent = Lent(leaves)
        with lent:
            result, written = self._answer(signature, lent.leaves, shape)
            return lent.returned(result, written)

    def _answer(self, signature: Any, leaves: list[Any], shape: Any) -> tuple[Any, list[int]]:
        """What the function returns, and which tensors among its arguments it wrote into, by their number."""
        inputs = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        with self.lock:  # the temporaries of a program have one place
            programs = self.programs.get(signature, [])
            for program in programs:
                if program.fits(inputs):
                    if len(self.programs) > 1:  # the last used is the last to go
                        self.programs[signature] = self.programs.pop(signature)
                    return program.run(inputs), program.written
        return self._capture(signature, programs, unflatten(shape, leaves), inputs)

    def __reduce__(self) -> Any:
        """Copies and pickles are of the function alone: its programs belong to the memory that is here."""
        return Compiled, (self.function, self.device, self.by, self.limit)

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        """As a method of a class."""
        return self if instance is None else functools.partial(self, instance)

    def explain(self) -> str:
        """What each program became: nodes and bytes before and after, what was fused, planned memory."""
        kept = [program for programs in self.programs.values() for program in programs]
        if not kept:
            return f"{self._name}: not yet captured; call it once"
        return "\n\n".join(f"{self._name}, program {i}\n{p.explain()}" for i, p in enumerate(kept))

    def memory(self) -> int:
        """Bytes planned for the temporaries of all programs."""
        return sum(p.execution.memory.nbytes for programs in self.programs.values() for p in programs)

    def graphs(self) -> list[Any]:
        """The improved Graph of each program: print it, or `needle.program.picture.draw(graph, "step.svg")`."""
        return [program.graph for programs in self.programs.values() for program in programs]

    @property
    def _name(self) -> str:
        return getattr(self.function, "__qualname__", type(self.function).__name__)

    def _signature(self, leaves: list[Any], shape: Any) -> Any:
        buffers = [id(leaf.array.buffer) for leaf in leaves if isinstance(leaf, Tensor)]
        shared = () if len(set(buffers)) == len(buffers) else tuple(map(buffers.index, buffers))
        mode = is_grad_enabled(), autocast_dtype(), get_matmul_precision()
        return shape, mode, tuple(map(self._described, leaves)), shared

    def _described(self, leaf: Any) -> Any:
        """What a program depends on: of a tensor its type, of all else its value or identity."""
        if isinstance(leaf, Tensor):
            array = leaf.array
            if self.device is not None and array.device is not self.device:
                raise DeviceError(f"compile: {self._name} is for {self.device}, an argument is on {array.device}")
            return array.layout.shape, array.dtype, array.device, leaf.requires_grad, leaf.grad is None
        if isinstance(leaf, np.ndarray | NDArray):
            raise ArgumentError(
                f"compile: {self._name} was given a {type(leaf).__name__}, whose values would be kept for ever; "
                "pass needle.Tensor(...) of it"
            )
        if isinstance(leaf, float | complex | np.generic):
            return type(leaf), repr(leaf)  # which tells -0.0 from 0.0, and is equal for NaN
        if leaf is None or isinstance(leaf, bool | int | str | bytes):
            return type(leaf), leaf
        if isinstance(leaf, set | frozenset) and all(isinstance(x, int | str | bytes) for x in leaf):
            return type(leaf), frozenset((type(x), x) for x in leaf)
        return _Same(leaf)

    def _capture(
        self, signature: Any, programs: list[Program], arguments: tuple[Any, Any], inputs: list[Tensor]
    ) -> tuple[Any, list[int]]:
        start = perf_counter()
        reason = self._reason(signature, programs)
        known = [seen.tensor for program in programs for seen in program.seen]
        result, program = capture(self.function, arguments, inputs, known, self.by)
        with self.lock:
            self.captures += 1
            self._keep(signature, program)
        if log.isEnabledFor(logging.INFO):
            log.info("%s: captured in %.0f ms, %s; %s", self._name, (perf_counter() - start) * 1e3, reason,
                     program.summary())  # fmt: skip
        return result, program.written

    def _reason(self, signature: Any, programs: list[Program]) -> str:
        if programs:
            return "again because " + "; ".join(dict.fromkeys(p.misfit() for p in programs))
        if not self.programs:
            return "first call"
        return "again because the arguments are new: " + _difference(signature, next(reversed(self.programs)))

    def _keep(self, signature: Any, program: Program) -> None:
        """Keep a program, if it can be replayed; the one not used for longest goes where there are too many."""
        if program.passing:
            if program.passing != self.passing:
                log.warning("%s: runs without replay: %s", self._name, program.passing)
            self.passing = program.passing
            return
        self.programs.setdefault(signature, []).append(program)
        if sum(map(len, self.programs.values())) > self.limit:
            oldest = next(iter(self.programs))
            self.programs[oldest].pop(0)
            if not self.programs[oldest]:
                del self.programs[oldest]
            self.dropped += 1
            log.log(logging.INFO if self.dropped > 1 else logging.WARNING,
                    "%s: more than %d programs; the oldest is dropped (compile(limit=...) keeps more)",
                    self._name, self.limit)  # fmt: skip


class _Same:
    """An object as a part of a signature: equal to itself alone, and kept alive."""

    __slots__ = ("held",)

    def __init__(self, held: Any) -> None:
        self.held = held

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.held is self.held

    def __hash__(self) -> int:
        return id(self.held)

    def __repr__(self) -> str:
        return f"{type(self.held).__name__} at {id(self.held):#x}"


def _flattened(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[list[Any], Any]:
    """The leaves of a call's arguments and their shape; quickly where all are tensors, as in a training loop."""
    if not kwargs and all(type(arg) is Tensor for arg in args):
        return list(args), _flat_shape(len(args))
    return flatten((args, kwargs), tensor_like)


@functools.cache
def _flat_shape(count: int) -> Any:
    return flatten(((0,) * count, {}))[1]


def tensor_like(leaf: Any) -> bool:
    return isinstance(leaf, Tensor | NDArray | np.ndarray)


def _difference(now: Any, before: Any) -> str:
    if now[0] != before[0]:
        return "they are nested in another way"
    for what, a, b in zip(
        ("gradients are", "autocast is", "the precision of products is"), now[1], before[1], strict=True
    ):
        if a != b:
            return f"{what}: {a}, it was {b}"
    for i, (a, b) in enumerate(zip(now[2], before[2], strict=False)):
        if a != b:
            return f"argument {i} is {a}, it was {b}"
    return "they differ"


def compile(
    function: Callable[..., Any] | None = None, *, device: Any = None, compiler: str | None = None,
    disable: Any = (), limit: int = LIMIT, **options: Any,
) -> Any:  # fmt: skip
    """A function of tensors that runs as `function` does, without Python between its kernels.

    On the first call with arguments of some kind (shapes, dtypes, devices; numbers and text by value) it runs and is
    recorded; later calls replay what was recorded, improved by passes. A whole training step, with `backward()` and
    `optimizer.step()`, is the best unit. Also a decorator: `@needle.compile`.

    Parameters, running statistics, optimizers' state and tensors that an attribute is given anew are updated as ever,
    random numbers go on, learning rates are read anew. What Python computes from tensors' values (`.item()`,
    `if x.sum() > 0`) cannot be replayed and is refused with its line; what else Python does inside, such as printing,
    happens once. Numbers, text and containers that the function reads in closures, globals and attributes are looked at
    before each replay: if they are others, it is captured again; if it changes them itself, it is not replayed at all.
    Not seen is what changes in place in lists, dicts and NumPy arrays of more than 1000 elements. Results that could
    still be differentiated are refused: compute them under `no_grad`, or return their `detach()`.

    `disable` names passes to leave out; `limit` is how many programs are kept. `compiler` names another compiler, such
    as "tvm" of the package needle-tvm, and `options` are its own.
    """
    if function is None:
        return functools.partial(compile, device=device, compiler=compiler, disable=disable, limit=limit, **options)
    if not callable(function):
        raise ArgumentError(f"compile: takes a function, not {type(function).__name__}")
    if inspect.isclass(function):
        name = function.__name__
        raise ArgumentError(f"compile: takes a function or module, not the class {name}; make one first: {name}(...)")
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        raise ArgumentError(
            "compile: takes a function that returns, not a generator or coroutine: it ends after a replay"
        )
    if not isinstance(limit, int) or limit < 1:
        raise ArgumentError(f"compile: limit is {limit!r}; at least one program is kept")
    by = Making(known_passes([disable] if isinstance(disable, str) else disable))
    if compiler is not None:
        module = find_compiler(compiler)
        by = Making(by.disable, module.PASSES, functools.partial(module.execution, **options))
    taken = module.OPTIONS if compiler is not None else ()
    if unknown := options.keys() - set(taken):
        raise ArgumentError(
            f"compile: no option {min(unknown)!r}; {compiler or 'needle'} takes {', '.join(taken) or 'none'}"
        )
    return Compiled(function, device, by, limit)


def log_from_environment() -> None:
    """NEEDLE_LOG=compile writes to stderr when, and why, functions are captured."""
    if "compile" in os.environ.get("NEEDLE_LOG", "").split(","):
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("needle.compile: %(message)s"))
        log.addHandler(handler)
        log.setLevel(logging.INFO)
