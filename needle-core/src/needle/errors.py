"""The errors that Needle raises on purpose: one line each, naming the op, the rule that broke and the shapes.

Each also derives from the built-in exception that a Python user would expect to catch.
"""


def shown(value: object) -> str:
    """A wrong argument as it stands in an error of one line: what is long, or an array, by its type alone."""
    text = repr(value)
    return text if len(text) <= 60 and "\n" not in text else f"{type(value).__name__}(...)"


class NeedleError(Exception):
    """Base of every error that Needle raises on purpose."""


class ShapeError(NeedleError, ValueError):
    """Shapes, axes or sizes that do not fit the op."""


class IndexRangeError(NeedleError, IndexError):
    """An index outside its axis."""

    def told_of(self, op: str) -> "IndexRangeError":
        """The same error, told of the op that the user called and not of the one that it is made of."""
        return IndexRangeError(f"{op}: {str(self).partition(': ')[2]}")


class DTypeError(NeedleError, TypeError):
    """An element type that the op or the device does not take."""


class NotATensorError(DTypeError):
    """Something else, such as a NumPy array, where only a Tensor serves."""

    def __init__(self, op: str, operand: object) -> None:
        super().__init__(f"{op}: takes Tensors, not {shown(operand)}; pass needle.Tensor(...) of it")


class ArgumentError(NeedleError, ValueError):
    """A number or a name that the function does not take, such as a probability of 2."""


class DeviceError(NeedleError, ValueError):
    """A device that does not exist or is not ready, or operands on different devices."""


class GraphError(NeedleError, RuntimeError):
    """A gradient was asked for where there is no graph to follow."""


class UnsupportedError(NeedleError, NotImplementedError):
    """Something that this device or this version cannot do; the text says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class OutOfMemoryError(NeedleError, MemoryError):
    """The device has no room for an allocation."""

    def __init__(self, requested: int, free: int | None = None, note: str = "") -> None:
        available = "" if free is None else f", {free:,} are free"
        remedy = note or "free arrays, or make the batch smaller"
        super().__init__(f"out of memory: {requested:,} bytes asked for{available}; {remedy}")
        self.requested = requested
        self.free = free


class KernelError(NeedleError, RuntimeError):
    """A kernel failed on the device; `op` names it."""

    def __init__(self, op: str, reason: str) -> None:
        super().__init__(f"{op}: {reason}")
        self.op = op


class BackendError(NeedleError, RuntimeError):
    """A backend that cannot be loaded or speaks another version of the protocol."""


class DataError(NeedleError, ValueError):
    """A data file or checkpoint that cannot be read: missing, truncated, or of another kind."""
