"""needle.data: the datasets, forwarded from the package needle-nn."""

try:
    from needle_nn.data import *  # noqa: F403
    from needle_nn.data import __all__ as __all__
except ModuleNotFoundError as error:
    if error.name != "needle_nn":  # it is installed, and something in it is broken
        raise
    raise ModuleNotFoundError("needle.data is in 'needle-nn': pip install needle-nn", name="needle_nn") from None
