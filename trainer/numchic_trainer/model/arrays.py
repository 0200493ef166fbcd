# SPDX-License-Identifier: BSD-3-Clause
"""From tensors to the arrays of the kernels."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]


def has_kernels(x: Tensor) -> bool:
    """Whether the compiled kernels can be used; plain torch does everything else."""
    return x.device.type == "cpu" and x.dtype == torch.float32


def as_array(tensor: Tensor) -> F32:
    """Samples of a tensor on the CPU, without its gradient."""
    array: F32 = tensor.detach().contiguous().numpy()
    return array
