"""needle.nn: the layers, forwarded from the package needle-nn."""

try:
    from needle_nn.nn import *  # noqa: F403
    from needle_nn.nn import __all__ as __all__
except ModuleNotFoundError as error:
    if error.name != "needle_nn":  # it is installed, and something in it is broken
        raise
    raise ModuleNotFoundError("needle.nn is in 'needle-nn': pip install needle-nn", name="needle_nn") from None
