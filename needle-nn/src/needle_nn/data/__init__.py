"""Datasets and their loader: reached as `needle.data`."""

from needle_nn.data.dataset import Dataset, ImageDataset, NDArrayDataset
from needle_nn.data.digits import DigitsDataset
from needle_nn.data.idx import read_idx
from needle_nn.data.loader import DataLoader
from needle_nn.data.mnist import FashionMNISTDataset, MNISTDataset

__all__ = [
    "DataLoader",
    "Dataset",
    "DigitsDataset",
    "FashionMNISTDataset",
    "ImageDataset",
    "MNISTDataset",
    "NDArrayDataset",
    "read_idx",
]
