# SPDX-License-Identifier: BSD-3-Clause
"""Auto-regressive module in float, for training (coolchic-5, sections 5 and 14; training, 2.4).

The float model corresponds to the integer one of ``numchic.v5.arm``: real weights and biases are
the quantised integers times their steps, inputs are latents and IFCE features in natural units.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from numchic_trainer.model.module import ParameterModule

_SCALE_OFFSET = 4.0
_MAX_LOG_SCALE = 5.0


class ArmLinear(ParameterModule):
    """Linear layer of the ARM, W x + b, or W x + b + x if residual.

    Parameters
    ----------
    in_channels, out_channels : int
        Number of input and output features; equal for a residual layer.
    residual : bool
        Add the input to the output.
    generator : torch.Generator, optional
        What parameters are drawn from; torch's own if not given.

    Attributes
    ----------
    weight : Parameter, shape (out_channels, in_channels)
    bias : Parameter, shape (out_channels,)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        residual: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if residual and in_channels != out_channels:
            raise ValueError("a residual layer has as many outputs as inputs")
        self.residual = residual
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels))
        self.bias = nn.Parameter(torch.empty(out_channels))
        self.initialize_parameters(generator)

    def initialize_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw new parameters in place.

        Biases are zero. Weights are zero in a residual layer, else normal with standard deviation
        1 / out_channels**2.
        """
        with torch.no_grad():
            self.bias.zero_()
            if self.residual:
                self.weight.zero_()
            else:
                self.weight.normal_(0.0, 1.0 / self.bias.numel() ** 2, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer to a tensor of shape (B, in_channels)."""
        y = nn.functional.linear(x, self.weight, self.bias)
        return y + x if self.residual else y


class Arm(ParameterModule):
    """Model of the distribution of a latent given its context: a Laplace distribution.

    ``n_hidden_layers_arm`` residual layers of width ``dim_arm``, each followed by a ReLU, and a
    linear layer with the two outputs mu and s; the scale is exp(s - 4), with s - 4 clamped to
    [-5, 5] as in the tables of the decoder. Unlike in earlier versions of the format, the width
    need not be a multiple of 8.

    Parameters
    ----------
    dim_arm : int
        Number of context values and width of the hidden layers.
    n_hidden_layers_arm : int
        0 for a linear ARM.
    linear_stabiliser : bool
        Add a linear function of the context to both outputs.
    generator : torch.Generator, optional
        What parameters are drawn from; torch's own if not given.
    """

    def __init__(
        self,
        dim_arm: int,
        n_hidden_layers_arm: int,
        linear_stabiliser: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.dim_arm = dim_arm
        self.hidden = nn.ModuleList(
            ArmLinear(dim_arm, dim_arm, residual=True) for _ in range(n_hidden_layers_arm)
        )
        self.output = ArmLinear(dim_arm, 2, generator=generator)
        self.stabiliser = ArmLinear(dim_arm, 2, generator=generator) if linear_stabiliser else None

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Evaluate the distribution for a batch of contexts.

        Parameters
        ----------
        x : Tensor, shape (B, dim_arm)
            Spatial contexts followed by the IFCE features.

        Returns
        -------
        mu, scale, log_scale : Tensor, shape (B,)
            ``log_scale`` is the raw output s.
        """
        y = x
        for layer in self.hidden:
            y = torch.relu(layer(y))
        # The decoder adds the identity to every square trunk matrix, even to this one (5.1).
        y = self.output(y) + y if self.dim_arm == 2 else self.output(y)
        if self.stabiliser is not None:
            y = y + self.stabiliser(x)
        mu, log_scale = y[:, 0], y[:, 1]
        clamped = torch.clamp(log_scale - _SCALE_OFFSET, -_MAX_LOG_SCALE, _MAX_LOG_SCALE)
        return mu, torch.exp(clamped), log_scale
