# SPDX-License-Identifier: BSD-3-Clause
"""Synthesis in float, for training (coolchic-5, section 11.1; training, 2.6)."""

from __future__ import annotations

import re
from collections import OrderedDict
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from numchic_bitstream.v5.headers import SynthesisLayer
from numchic_trainer.kernels.synthesis import is_usual
from numchic_trainer.model.arrays import has_kernels
from numchic_trainer.model.functions import synthesise
from numchic_trainer.model.module import ParameterModule

_LAYER = re.compile(r"(\d+)-(\d+)-(linear|residual)-(none|relu)")


def parse_layer(text: str) -> SynthesisLayer:
    """Read ``<output_dim>-<kernel_size>-<type>-<non_linearity>``, e.g. ``48-1-linear-relu``.

    Raises
    ------
    ValueError
        The text is not of that form.
    """
    match = _LAYER.fullmatch(text)
    if match is None:
        raise ValueError(f"not a synthesis layer: {text!r}; an example is 48-1-linear-relu")
    out_ft, k_size, mode, non_linearity = match.groups()
    return SynthesisLayer(int(out_ft), int(k_size), mode, non_linearity)  # type: ignore[arg-type]


class SynthesisConv2d(ParameterModule):
    """Convolution with replicated borders, conv(x) or conv(x) + x.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size : int
        Odd.
    residual : bool
        Add the input; needs as many outputs as inputs.
    generator : torch.Generator, optional
        What parameters are drawn from; torch's own if not given.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        residual: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if residual and in_channels != out_channels:
            raise ValueError("a residual layer has as many outputs as inputs")
        self.residual = residual
        shape = (out_channels, in_channels, kernel_size, kernel_size)
        self.weight = nn.Parameter(torch.empty(shape))
        self.bias = nn.Parameter(torch.empty(out_channels))
        self.initialize_parameters(generator)

    def initialize_parameters(self, generator: torch.Generator | None = None) -> None:
        """Zero biases; zero weights if residual, else uniform and the smaller the more outputs."""
        with torch.no_grad():
            self.bias.zero_()
            if self.residual:
                self.weight.zero_()
            else:
                limit = 1.0 / (self.weight[0].numel() ** 0.5 * self.weight.shape[0] ** 2)
                self.weight.uniform_(-limit, limit, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer to a tensor of shape (B, in_channels, H, W)."""
        reach = self.weight.shape[-1] // 2
        if reach:
            y = F.conv2d(F.pad(x, (reach,) * 4, mode="replicate"), self.weight, self.bias)
        else:
            # A matrix product is several times quicker than a 1 x 1 convolution on a CPU.
            flat = torch.matmul(self.weight[:, :, 0, 0], x.flatten(2)) + self.bias[:, None]
            y = flat.view(*flat.shape[:2], *x.shape[2:])
        return y + x if self.residual else y


def _is_identity(layer: SynthesisConv2d) -> bool:
    identity = torch.eye(len(layer.weight), device=layer.weight.device)
    return torch.equal(layer.weight[:, :, 0, 0], identity) and not bool(layer.bias.any())


class Synthesis(ParameterModule):
    """Turns dense latents into the picture.

    Parameters
    ----------
    input_ft : int
        Number of input channels, common randomness included.
    layers : list of str
        ``<output_dim>-<kernel_size>-<type>-<non_linearity>`` per layer.
    flag_linear_stabiliser : bool
        Add a linear function of the latents to the output of the trunk.
    flag_common_randomness : bool
        The second half of the input is common randomness, which the stabiliser does not see.
    generator : torch.Generator, optional
        What parameters are drawn from; torch's own if not given.

    Attributes
    ----------
    output_transform : SynthesisConv2d
        1 x 1 filter after everything else, the identity unless set; not trained.
    """

    def __init__(
        self,
        input_ft: int,
        layers: list[str],
        flag_linear_stabiliser: bool = True,
        flag_common_randomness: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.layer_forms = tuple(parse_layer(layer) for layer in layers)
        self.n_latents = input_ft // 2 if flag_common_randomness else input_ft
        trunk, n_inputs = [], input_ft
        for form in self.layer_forms:
            residual = form.mode == "residual"
            trunk.append(SynthesisConv2d(n_inputs, form.out_ft, form.k_size, residual, generator))
            n_inputs = form.out_ft
        self.trunk = nn.ModuleList(trunk)
        self.stabiliser = (
            SynthesisConv2d(self.n_latents, n_inputs, 1, generator=generator)
            if flag_linear_stabiliser
            else None
        )
        self.output_transform = SynthesisConv2d(n_inputs, n_inputs, 1, generator=generator)
        with torch.no_grad():
            self.output_transform.weight.copy_(torch.eye(n_inputs)[:, :, None, None])
        self.output_transform.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """Run the synthesis on a tensor of shape (B, input_ft, H, W)."""
        if is_usual(self.layer_forms) and len(x) == 1 and has_kernels(x):
            layers = cast("list[SynthesisConv2d]", list(self.trunk))
            layers += [] if self.stabiliser is None else [self.stabiliser]
            weights = [(layer.weight, layer.bias) for layer in layers]
            n = len(self.trunk)
            y = synthesise(x[0], weights[:n], *weights[n:])[None]
        else:
            y = self._trunk(x)
            if self.stabiliser is not None:
                y = y + self.stabiliser(x[:, : self.n_latents])
        return self.transform(y)

    def transform(self, y: Tensor) -> Tensor:
        """Apply the output transform to what trunk and stabiliser give."""
        if _is_identity(self.output_transform):
            return y
        transformed: Tensor = self.output_transform(y)
        return transformed

    def _trunk(self, x: Tensor) -> Tensor:
        y = x
        for layer, form in zip(self.trunk, self.layer_forms, strict=True):
            y = layer(y)
            if form.non_linearity == "relu":
                y = torch.relu(y)
        return y

    def get_param(self, which: Literal["weight", "bias"] | None = None) -> OrderedDict[str, Tensor]:
        """Return a copy of the weights, the biases or (None) both."""
        params = super().get_param()
        if which is None:
            return params
        return OrderedDict((k, v) for k, v in params.items() if k.rsplit(".", 1)[-1] == which)
