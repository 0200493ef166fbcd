# SPDX-License-Identifier: BSD-3-Clause
"""What all modules of the trainer have in common."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn


class ParameterModule(nn.Module):
    """Module whose parameters can be copied out and put back."""

    def get_param(self) -> OrderedDict[str, Tensor]:
        """Return a copy of the weights and biases inside the module."""
        return OrderedDict(
            (name, value.detach().clone()) for name, value in self.named_parameters()
        )

    def set_param(self, param: OrderedDict[str, Tensor]) -> None:
        """Replace the current parameters of the module with ``param``.

        Raises
        ------
        RuntimeError
            A name is missing or unknown, or a shape differs.
        """
        with torch.no_grad():
            self.load_state_dict(param, strict=True)
