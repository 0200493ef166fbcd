# SPDX-License-Identifier: BSD-3-Clause
"""From tensors to the arrays of the kernels."""

from __future__ import annotations

import torch
from torch import Tensor

from numchic_bitstream.arrays import F32


def has_kernels(x: Tensor) -> bool:
    """Whether the compiled kernels can be used; plain torch does everything else."""
    return x.device.type == "cpu" and x.dtype == torch.float32


def as_array(tensor: Tensor) -> F32:
    """Samples of a tensor on the CPU, without its gradient."""
    array: F32 = tensor.detach().contiguous().numpy()
    return array
