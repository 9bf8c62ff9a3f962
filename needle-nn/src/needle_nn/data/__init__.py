"""Datasets and their loader: reached as `needle.data`."""

from needle_nn.data.cifar import CIFAR10Dataset
from needle_nn.data.dataset import Dataset, ImageDataset, NDArrayDataset
from needle_nn.data.digits import DigitsDataset
from needle_nn.data.download import Remote, download
from needle_nn.data.idx import read_idx
from needle_nn.data.loader import DataLoader
from needle_nn.data.mnist import FashionMNISTDataset, MNISTDataset
from needle_nn.data.parts import ConcatDataset, Subset, random_split
from needle_nn.data.pickles import read_pickle
from needle_nn.data.text import (
    Alphabet,
    CharacterDataset,
    Corpus,
    Dictionary,
    SequenceLoader,
    batchify,
    get_batch,
    read_text,
)
from needle_nn.data.transforms import Cutout, Normalize, RandomCrop, RandomFlipHorizontal, ToFloat

__all__ = [
    "Alphabet",
    "CIFAR10Dataset",
    "CharacterDataset",
    "ConcatDataset",
    "Corpus",
    "Cutout",
    "DataLoader",
    "Dataset",
    "Dictionary",
    "DigitsDataset",
    "FashionMNISTDataset",
    "ImageDataset",
    "MNISTDataset",
    "NDArrayDataset",
    "Normalize",
    "RandomCrop",
    "RandomFlipHorizontal",
    "Remote",
    "SequenceLoader",
    "Subset",
    "ToFloat",
    "batchify",
    "download",
    "get_batch",
    "random_split",
    "read_idx",
    "read_pickle",
    "read_text",
]
