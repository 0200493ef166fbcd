# SPDX-License-Identifier: BSD-3-Clause
"""Decoder networks that many pictures share, for every lambda (ladder-stochastic, 13).

Every parameter is a straight line in the logarithm of lambda. The first layers of the synthesis
get a gain per grid on top, which lets the effective quantisation step follow lambda.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.func import functional_call

from numchic_trainer.architecture import architecture
from numchic_trainer.config import Preset, TrainConfig
from numchic_trainer.ladder.network import MULTIPLE, N_LEVELS, condition
from numchic_trainer.model.encoder import CoolChicEncoder, CoolChicEncoderOutput
from numchic_trainer.model.synthesis import SynthesisConv2d

_SOFT = {"soft_round_temperature": 0.2, "noise_parameter": 0.18}
_AS_THEY_ARE = {"quantizer_type": "none", "quantizer_noise_type": "none"}
_GAINED = ("synthesis.trunk.0.weight", "synthesis.stabiliser.weight")


class SharedDecoder(nn.Module):
    """Networks of one preset.

    Parameters
    ----------
    preset : str

    Attributes
    ----------
    base, slope : ParameterDict
        Every network parameter is base + slope * condition(lambda); names are those of
        :class:`CoolChicEncoder` with "/" in the place of ".".
    first : ParameterDict
        Networks for latents of zero: those of the mosaic, for all lambdas.
    gain : Parameter, shape (2, number of grids)
        The logarithm of the gain of grid i is gain[0, i] + gain[1, i] * condition(lambda).
    """

    def __init__(self, preset: Preset) -> None:
        super().__init__()
        # The ladder knows nothing of hyperlatents.
        config = TrainConfig(hyperlatent_resolution=None)
        parameter = architecture(config, preset, (MULTIPLE, MULTIPLE))
        self.preset = preset
        self._model = [CoolChicEncoder(parameter)]  # not a child
        _strengthen(self.model)
        start = {
            name.replace(".", "/"): parameter.detach().clone()
            for name, parameter in self.model.named_parameters()
            if parameter.requires_grad and not name.startswith("latent_grids")
        }
        self.base = nn.ParameterDict(start)
        self.slope = nn.ParameterDict({name: torch.zeros_like(p) for name, p in start.items()})
        self.first = nn.ParameterDict(
            {name: nn.Parameter(p.clone(), requires_grad=False) for name, p in start.items()}
        )
        self.gain = nn.Parameter(torch.zeros(2, N_LEVELS))

    @property
    def model(self) -> CoolChicEncoder:
        """Model whose parameters are replaced when it is called."""
        return self._model[0]

    def first_networks(self) -> dict[str, Tensor]:
        """Networks for latents of zero; names are those of CoolChicEncoder."""
        return {name.replace("/", "."): p for name, p in self.first.items()}

    def take_first(self, networks: Mapping[str, Tensor]) -> None:
        """Take networks for latents of zero, named as in CoolChicEncoder."""
        with torch.no_grad():
            for name, parameter in self.first.items():
                parameter.copy_(networks[name.replace("/", ".")])

    def begin_with_first(self) -> None:
        """Let the networks for the latents of the ladder be those for latents of zero."""
        with torch.no_grad():
            for name, base in self.base.items():
                base.copy_(self.first[name])

    def networks(self, lmbda: float) -> dict[str, Tensor]:
        """Parameters for a lambda, with gains folded in; names are those of CoolChicEncoder."""
        t = condition(lmbda)
        networks = {
            name.replace("/", "."): base + t * self.slope[name] for name, base in self.base.items()
        }
        gains = torch.exp(self.gain[0] + t * self.gain[1])
        for name in _GAINED:
            networks[name] = networks[name] * gains[:, None, None]
        return networks

    def forward(
        self, latents: Sequence[Tensor], networks: dict[str, Tensor], *, quantise: bool
    ) -> CoolChicEncoderOutput:
        """Decode one picture and measure the rate of its latents.

        Parameters
        ----------
        latents : sequence of Tensor, shape (h, w)
            Finest first, in the units of the decoder.
        networks : dict
            The result of :meth:`networks`.
        quantise : bool
            Quantise softly, with noise, as in the middle of the training of one picture.
        """
        gain = self.model.param.encoder_gain
        grids = {f"latent_grids.{i}": z / gain for i, z in enumerate(latents)}
        output: CoolChicEncoderOutput = functional_call(
            self.model,
            {**networks, **grids},
            kwargs=_SOFT if quantise else _AS_THEY_ARE,
        )
        return output


def _strengthen(model: CoolChicEncoder) -> None:
    """Multiply the initial weights of the synthesis: otherwise the start is slow (section 14)."""
    with torch.no_grad():
        for layer in cast("list[SynthesisConv2d]", list(model.synthesis.trunk)):
            if not layer.residual:
                layer.weight.mul_(len(layer.weight) ** 2 / 2)
