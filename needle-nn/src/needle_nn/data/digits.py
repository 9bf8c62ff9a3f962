"""The 8x8 digits that the package ships: real data that trains in seconds and needs no network."""

from collections.abc import Sequence
from importlib.resources import files

import numpy as np

from needle_nn.data.dataset import ImageDataset, Transform

_EVERY = 6  # of each digit, every sixth image is a test image


class DigitsDataset(ImageDataset):
    """1,797 handwritten digits, 8x8 in 17 shades of grey: 1,501 to train with and 296 to test.

    Source, licence and authors are in `digits.NOTICE`. The images stand in the order of UCI's file, and the test set
    is every sixth image of each digit, so that the same people wrote both sets. It is an easy split: a model that gets
    98 % of it right gets about 93 % of the last 297 images when it is trained on those before them.
    """

    def __init__(self, train: bool = True, transforms: Sequence[Transform] | None = None) -> None:
        with (files("needle_nn.data") / "digits.npz").open("rb") as file, np.load(file) as arrays:
            images, labels = arrays["images"], arrays["labels"]
        chosen = _is_test(labels) != train
        super().__init__(images[chosen], labels[chosen], white=16, transforms=transforms)


def _is_test(labels: np.typing.NDArray[np.uint8]) -> np.typing.NDArray[np.bool_]:
    """Which images are kept for the test: every sixth among those of the same label."""
    chosen = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        chosen[np.flatnonzero(labels == label)[_EVERY - 1 :: _EVERY]] = True
    return chosen
