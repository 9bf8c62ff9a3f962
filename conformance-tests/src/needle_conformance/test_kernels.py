"""Stage 4: each primitive of the protocol, called with views of every layout, against the reference on the host."""

import pytest

from needle.device import Device
from needle_conformance.kernel import KernelTrial
from needle_conformance.kernels import trials


@pytest.mark.over.with_args(trials)
def test_kernel(device: Device, trial: KernelTrial) -> None:
    trial.check()
