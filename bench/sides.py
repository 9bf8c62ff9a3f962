"""The two sides of a race: what a work needs to know of a framework to set up its tensors and to wait for results."""

from typing import Any

import numpy as np
import torch

import needle as ndl
from needle.dispatch import dispatcher

TORCH_DEVICES = {"cuda": "cuda", "msl": "mps", "mps": "mps"}  # Needle's device: PyTorch's; any other is the CPU

# A float32 product is one of float32 numbers on both sides, not of their leading bits.
torch.backends.cuda.matmul.allow_tf32 = False
torch.backends.cudnn.allow_tf32 = False


class Needle:
    """Needle on one of its devices."""

    def __init__(self, device: str, dtype: str = "float32") -> None:
        self.device, self.dtype = ndl.device(device), dtype
        self.name = f"needle {device}"

    def tensor(self, values: np.ndarray, grad: bool = False) -> ndl.Tensor:
        """Floats in the side's dtype, integers as they are."""
        dtype = self.dtype if values.dtype.kind == "f" else None
        made = ndl.tensor(values, device=self.device, dtype=dtype, requires_grad=grad)
        made.array.host_array()  # memory that was lent out is not kept packed: each call of an op does all of its work
        return made

    def numpy(self, tensor: ndl.Tensor) -> np.ndarray:
        return np.asarray(tensor.detach().astype("float64" if str(self.device) != "mps" else "float32").numpy())

    def synchronize(self) -> None:
        dispatcher(self.device).backend.synchronize()


class Torch:
    """PyTorch on the device of the same kind; in float64 on the CPU it is what results are compared with."""

    def __init__(self, device: str, dtype: str = "float32") -> None:
        self.device = torch.device(TORCH_DEVICES.get(device.partition(":")[0], "cpu"))
        self.dtype = getattr(torch, dtype)
        self.name = f"torch {self.device}"

    def tensor(self, values: np.ndarray, grad: bool = False) -> torch.Tensor:
        """Floats in the side's dtype, integers as they are."""
        dtype = self.dtype if values.dtype.kind == "f" else None
        return torch.tensor(values, device=self.device, dtype=dtype, requires_grad=grad)

    def numpy(self, tensor: torch.Tensor) -> np.ndarray:
        return tensor.detach().cpu().to(torch.float64).numpy()

    def synchronize(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        elif self.device.type == "mps":
            torch.mps.synchronize()


Side = Needle | Torch
Result = Any  # a tensor of the side, or a tuple of them
