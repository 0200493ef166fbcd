# SPDX-License-Identifier: BSD-3-Clause
"""The model of one picture: latents and networks, trained together (training, sections 2 and 3)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypedDict, cast

import torch
from torch import Tensor, nn

from numchic.v5.context import NEIGHBOURS
from numchic.v5.noise import common_randomness
from numchic_bitstream.v5 import expgolomb
from numchic_bitstream.v5.complexity import Macs, count_macs
from numchic_bitstream.v5.derived import Grid
from numchic_bitstream.v5.headers import CoolChicHeader, Descriptor, Resize
from numchic_trainer.kernels.picture import PictureSweep
from numchic_trainer.kernels.rate import RateSweep
from numchic_trainer.kernels.workers import Workers
from numchic_trainer.model.arm import Arm
from numchic_trainer.model.arrays import as_array, has_kernels
from numchic_trainer.model.functions import arm_rate, latent_rate
from numchic_trainer.model.ifce import Ifce
from numchic_trainer.model.laplace import laplace_bits
from numchic_trainer.model.module import ParameterModule
from numchic_trainer.model.quantise import NoiseType, QuantizerType, quantise
from numchic_trainer.model.synthesis import Synthesis, parse_layer
from numchic_trainer.model.upsampling import Upsampling

MODULES = ("arm", "ifce", "upsampling", "synthesis")
KINDS = ("weight", "bias")

DescriptorCoolChic = dict[str, dict[str, Any]]
"""One value per module ("arm", "ifce", "upsampling", "synthesis") and kind ("weight", "bias")."""

_REACH = 4  # rows and columns that contexts look at


class CoolChicEncoderOutput(TypedDict):
    """What :meth:`CoolChicEncoder.forward` returns.

    ``raw_out`` is a Tensor of shape (1, C, H, W), not clamped; ``rate`` the bits of all latents, a
    scalar; ``additional_data`` is empty unless asked for.
    """

    raw_out: Tensor
    rate: Tensor
    additional_data: dict[str, Any]


@dataclass(kw_only=True)
class CoolChicEncoderParameter:
    """Architecture of a :class:`CoolChicEncoder`.

    Parameters
    ----------
    layers_synthesis : list of str
        ``<output_dim>-<kernel_size>-<type>-<non_linearity>`` per layer.
    linear_stabiliser_synth, linear_stabiliser_arm : bool
        Whether synthesis and ARM have a linear side branch.
    ups_k_size, ups_preconcat_k_size : int
        Sizes of the upsampling filters (even, at least 4) and pre-concatenation filters (odd).
    ifce_resolution : (int, int) or None
        Lowest and highest log2 down-sampling of the grids with an IFCE; None for no IFCE.
    output_feature_ifce : int
        Number of IFCE features; ignored without IFCE.
    spatial_context_arm : int
        Number of spatial contexts.
    n_hidden_layers_arm : int
        0 for a linear ARM.
    latent_resolution : (int, int)
        Lowest and highest log2 down-sampling of the latents.
    hyper_latent_resolution : (int, int) or None
        The same for hyperlatents; None for no hyperlatents.
    flag_common_randomness : bool
        Append a pseudo-random field to the input of the synthesis.
    img_size : (int, int)
        Height and width.
    encoder_gain : int
        Factor of the latents before quantisation.
    final_upsampling_type : {"nearest", "bilinear", "bicubic"}
        Filter when the finest latent is smaller than the picture.
    """

    layers_synthesis: list[str]
    linear_stabiliser_synth: bool = True
    ups_k_size: int = 8
    ups_preconcat_k_size: int = 7
    ifce_resolution: tuple[int, int] | None = (0, 2)
    output_feature_ifce: int = 6
    spatial_context_arm: int = 14
    linear_stabiliser_arm: bool = True
    n_hidden_layers_arm: int = 2
    latent_resolution: tuple[int, int] = (0, 6)
    hyper_latent_resolution: tuple[int, int] | None = (4, 6)
    flag_common_randomness: bool = False
    img_size: tuple[int, int]
    encoder_gain: int = 16
    final_upsampling_type: Resize = "bicubic"

    @classmethod
    def from_header(
        cls, header: CoolChicHeader, encoder_gain: int = 16
    ) -> CoolChicEncoderParameter:
        """Architecture of a stream."""
        return cls(
            layers_synthesis=[
                f"{layer.out_ft}-{layer.k_size}-{layer.mode}-{layer.non_linearity}"
                for layer in header.syn_layer
            ],
            linear_stabiliser_synth=bool(header.linear_stabiliser_synth),
            ups_k_size=header.ups_k_size,
            ups_preconcat_k_size=header.ups_preconcat_k_size,
            ifce_resolution=header.ifce_resolution,
            output_feature_ifce=header.output_feature_ifce,
            spatial_context_arm=header.spatial_context_arm,
            linear_stabiliser_arm=bool(header.linear_stabiliser_arm),
            n_hidden_layers_arm=header.n_hidden_layers_arm,
            latent_resolution=header.latent_resolution,
            hyper_latent_resolution=header.hyperlatent_resolution,
            flag_common_randomness=bool(header.flag_common_randomness),
            img_size=header.img_size,
            encoder_gain=encoder_gain,
            final_upsampling_type=header.final_upsampling_type,
        )

    def to_header(
        self, nn_q_step: Descriptor | None = None, nn_expgol_cnt: Descriptor | None = None
    ) -> CoolChicHeader:
        """Header of a stream of this architecture, without the sizes of its payloads."""
        zeros = Descriptor(*[0] * 8)
        return CoolChicHeader(
            linear_stabiliser_synth=int(self.linear_stabiliser_synth),
            n_layer_synthesis=len(self.layers_synthesis),
            ups_k_size=self.ups_k_size,
            ups_preconcat_k_size=self.ups_preconcat_k_size,
            output_feature_ifce=0 if self.ifce_resolution is None else self.output_feature_ifce,
            spatial_context_arm=self.spatial_context_arm,
            linear_stabiliser_arm=int(self.linear_stabiliser_arm),
            n_hidden_layers_arm=self.n_hidden_layers_arm,
            img_size=self.img_size,
            latent_resolution=self.latent_resolution,
            flag_hyperlatent=int(self.hyper_latent_resolution is not None),
            flag_common_randomness=int(self.flag_common_randomness),
            final_upsampling_type=self.final_upsampling_type,
            nn_q_step=nn_q_step or zeros,
            nn_expgol_cnt=nn_expgol_cnt or zeros,
            ifce_resolution=self.ifce_resolution,
            hyperlatent_resolution=self.hyper_latent_resolution,
            syn_layer=tuple(parse_layer(layer) for layer in self.layers_synthesis),
        )


class CoolChicEncoder(ParameterModule):
    """Latents and networks of one picture.

    Parameters
    ----------
    param : CoolChicEncoderParameter
    generator : torch.Generator, optional
        What parameters are drawn from; torch's own if not given.

    Attributes
    ----------
    latent_grids : ParameterList
        Real-valued latents, shape (h, w) each, finest first, hyperlatents included.
    arm, ifce, upsampling, synthesis : Module
        The networks; ``ifce`` is None without IFCE.
    nn_q_step, nn_expgol_cnt : DescriptorCoolChic
        Quantisation steps and exp-Golomb orders; None where a module is not quantised.
    """

    def __init__(
        self, param: CoolChicEncoderParameter, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.param = param
        self.header = param.to_header()
        self.grids: tuple[Grid, ...] = self.header.derived.grids
        self.latent_grids = nn.ParameterList(
            nn.Parameter(torch.empty(grid.shape)) for grid in self.grids
        )
        width = self.header.derived.arm_width
        self.arm = Arm(width, param.n_hidden_layers_arm, param.linear_stabiliser_arm, generator)
        self.ifce = (
            Ifce(self.header.derived.ifce_inputs, self.header.output_feature_ifce, generator)
            if param.ifce_resolution is not None
            else None
        )
        n_steps = param.latent_resolution[1]
        self.upsampling = Upsampling(param.ups_k_size, param.ups_preconcat_k_size, n_steps, n_steps)
        self.synthesis = Synthesis(
            self.header.derived.synthesis_inputs,
            param.layers_synthesis,
            param.linear_stabiliser_synth,
            param.flag_common_randomness,
            generator,
        )
        if param.flag_common_randomness:
            noise = common_randomness(param.img_size, *param.latent_resolution)
            self.register_buffer("noise", torch.from_numpy(noise)[None], persistent=False)
        self.nn_q_step: DescriptorCoolChic = _descriptor(None)
        self.nn_expgol_cnt: DescriptorCoolChic = _descriptor(None)
        self.total_flops = 0
        self.flops_str = ""
        self._clear_unused_filters()
        self.initialize_latent_grids()

    @property
    def parts(self) -> tuple[CoolChicEncoder, ...]:
        """The model itself: that of a P or B frame consists of two."""
        return (self,)

    def initialize_latent_grids(self) -> None:
        """Set all latents to zero."""
        with torch.no_grad():
            for grid in self.latent_grids:
                grid.zero_()

    def reinitialize_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw all parameters anew, in place, and forget quantisation.

        Parameters
        ----------
        generator : torch.Generator, optional
            On the device of the parameters; torch's own if not given.
        """
        self.initialize_latent_grids()
        for module in self.modules():
            draw = getattr(module, "initialize_parameters", None)
            if draw is not None and module is not self.synthesis.output_transform:
                draw(generator)
        self._clear_unused_filters()
        self.forget_quantisation()

    def _clear_unused_filters(self) -> None:
        """Set filters of steps below the finest latent to zero: they are sent all the same."""
        low, high = self.param.latent_resolution
        with torch.no_grad():
            for filters in (self.upsampling.x2, self.upsampling.preconcat):
                for unused in list(filters)[high - low :]:
                    for parameter in unused.parameters():
                        parameter.zero_()

    def forward(
        self,
        quantizer_noise_type: NoiseType = "gaussian",
        quantizer_type: QuantizerType = "softround",
        soft_round_temperature: float | Tensor | None = 0.35,
        noise_parameter: float | Tensor | None = 0.22,
        AC_MAX_VAL: int = -1,  # noqa: N803 - the documented name
        flag_additional_outputs: bool = False,
        no_common_randomness: bool = False,
        only_common_randomness: bool = False,
        generator: torch.Generator | None = None,
    ) -> CoolChicEncoderOutput:
        """Quantise the latents, measure their rate and synthesise the picture.

        Parameters
        ----------
        quantizer_noise_type, quantizer_type : str
            See :func:`numchic_trainer.model.quantise.quantise`. In evaluation mode the latents are
            rounded whatever they say.
        soft_round_temperature, noise_parameter : float
            Parameters of soft rounding and of the noise.
        AC_MAX_VAL : int
            If not -1, clamp the quantised latents to [-AC_MAX_VAL, AC_MAX_VAL + 1].
        flag_additional_outputs : bool
            Fill ``additional_data`` with the quantised grids ("latents"), the bits of every latent
            ("rate"), mu and scale per grid, and the dense latents.
        no_common_randomness, only_common_randomness : bool
            Replace the common randomness, or the latents, by zeros in the synthesis input.
        generator : torch.Generator, optional
            Source of the noise.

        Returns
        -------
        CoolChicEncoderOutput
        """
        flat = torch.cat([grid.flatten() for grid in self.latent_grids]) * self.param.encoder_gain
        quantised = quantise(
            flat,
            quantizer_type if self.training else "hardround",
            quantizer_noise_type,
            0.35 if soft_round_temperature is None else soft_round_temperature,
            0.22 if noise_parameter is None else noise_parameter,
            generator,
        )
        if AC_MAX_VAL != -1:
            quantised = torch.clamp(quantised, -AC_MAX_VAL, AC_MAX_VAL + 1)
        grids = self._split(quantised)
        rate = self.latent_rate(grids)
        dense = self.dense(grids, no_common_randomness, only_common_randomness)
        additional: dict[str, Any] = {}
        if flag_additional_outputs:
            with torch.no_grad():
                bits, mu, scale = self._details(grids)
            additional = {
                "latents": grids,
                "rate": self._split(bits),
                "mu": self._split(mu),
                "scale": self._split(scale),
                "dense": dense,
            }
        return {"raw_out": self.render(dense), "rate": rate, "additional_data": additional}

    def evaluate(self) -> tuple[Tensor, float]:
        """Picture and bits with rounded latents, without gradient.

        What :meth:`forward` gives in evaluation mode; the kernels keep nothing for a way back here,
        and take half the memory.

        Returns
        -------
        raw_out : Tensor, shape (1, C, H, W)
            Not clamped.
        bits : float
            Of all latents.
        """
        with torch.no_grad():
            if has_kernels(self.latent_grids[0]) and PictureSweep.fits(self.header):
                return self._evaluate()
            before = self.training
            output = self.eval()()
            self.train(before)
            return output["raw_out"], float(output["rate"])

    def _evaluate(self) -> tuple[Tensor, float]:
        flat = torch.cat([grid.flatten() for grid in self.latent_grids])
        symbols = as_array(flat.mul_(self.param.encoder_gain).round_())
        bits = self._sweep.bits(symbols, [as_array(p) for p in rate_parameters(self)])
        noise = None
        if self.param.flag_common_randomness:
            noise = as_array(cast("Tensor", self.noise))[0]
        picture = PictureSweep(self.header, noise, Workers())
        raw = picture.render(symbols, [as_array(p) for p in picture_parameters(self)])
        return self.finish(torch.from_numpy(raw)[None]), bits

    def latent_rate(self, grids: list[Tensor], contexts: Tensor | None = None) -> Tensor:
        """Bits of quantised grids, a scalar; ``contexts`` are those of the grids, if at hand."""
        flat = torch.cat([grid.flatten() for grid in grids])
        if not has_kernels(flat):
            return self._plain_details(grids, contexts)[0].sum()
        if contexts is None:
            return latent_rate(self._sweep, flat, rate_parameters(self))
        return arm_rate(contexts, flat, *self._arm_layers())

    def latent_bits(self, grids: list[Tensor]) -> list[Tensor]:
        """Bits of every latent of quantised grids, without gradient."""
        with torch.no_grad():
            return self._split(self._details(grids)[0])

    @cached_property
    def _sweep(self) -> RateSweep:
        return RateSweep(self.header, Workers())

    def _details(self, grids: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Bits, mu and scale of every symbol, without gradient."""
        flat = torch.cat([grid.flatten() for grid in grids])
        if not has_kernels(flat):
            return self._plain_details(grids)
        weights = [as_array(parameter) for parameter in rate_parameters(self)]
        bits, mu, scale = map(torch.from_numpy, self._sweep.details(as_array(flat), weights))
        return bits, mu, scale

    def _plain_details(
        self, grids: list[Tensor], contexts: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Bits, mu and scale of every symbol, in plain torch."""
        contexts = self.contexts(grids) if contexts is None else contexts
        mu, scale, _ = self.arm(contexts.t())
        return laplace_bits(torch.cat([grid.flatten() for grid in grids]), mu, scale), mu, scale

    def _split(self, flat: Tensor) -> list[Tensor]:
        sizes = [grid.n_samples for grid in self.grids]
        parts = torch.split(flat, sizes)
        return [p.view(g.shape) for p, g in zip(parts, self.grids, strict=True)]

    def _arm_layers(self) -> tuple[Any, ...]:
        hidden = [(layer.weight, layer.bias) for layer in self.arm.hidden]
        output = (self.arm.output.weight, self.arm.output.bias)
        stabiliser = self.arm.stabiliser
        side = None if stabiliser is None else (stabiliser.weight, stabiliser.bias)
        return hidden, output, side, self.arm.dim_arm == 2

    def contexts(self, grids: list[Tensor]) -> Tensor:
        """Contexts of all latents, channel first: shape (D, number of latents)."""
        spatial = torch.cat([self._spatial(grid) for grid in grids], 1)
        if self.ifce is None:
            return spatial
        return torch.cat([spatial, torch.cat([f.flatten(1) for f in self.ifce(grids)], 1)])

    def _spatial(self, grid: Tensor) -> Tensor:
        height, width = grid.shape
        padded = nn.functional.pad(grid, (_REACH, _REACH, _REACH, 0))
        rows = [
            padded[_REACH + dy : _REACH + dy + height, _REACH + dx : _REACH + dx + width].flatten()
            for dy, dx in NEIGHBOURS[: self.param.spatial_context_arm]
        ]
        return torch.stack(rows)

    def dense(
        self,
        grids: list[Tensor],
        no_common_randomness: bool = False,
        only_common_randomness: bool = False,
    ) -> Tensor:
        """Input of the synthesis, shape (1, S, h, w), from quantised grids."""
        latents = [grid[None, None] for grid in self.header.derived.latents(grids)]
        dense: Tensor = self.upsampling(latents)
        if not self.param.flag_common_randomness:
            return dense
        noise = cast("Tensor", self.noise)
        if no_common_randomness:
            noise = torch.zeros_like(noise)
        if only_common_randomness:
            dense = torch.zeros_like(dense)
        return torch.cat([dense, noise], 1)

    def render(self, dense: Tensor) -> Tensor:
        """Synthesis and final resize, shape (1, C, H, W)."""
        return self._resize(self.synthesis(dense))

    def finish(self, raw: Tensor) -> Tensor:
        """Output transform and final resize of what the layers of the synthesis give."""
        return self._resize(self.synthesis.transform(raw))

    def _resize(self, raw: Tensor) -> Tensor:
        if tuple(raw.shape[-2:]) == tuple(self.param.img_size):
            return raw
        kind = self.param.final_upsampling_type
        size = list(self.param.img_size)
        if kind == "nearest":
            return nn.functional.interpolate(raw, size, mode="nearest")
        return nn.functional.interpolate(raw, size, mode=kind, align_corners=False)

    def quantised_latents(self) -> list[Tensor]:
        """Integer latents as they are written: rounded and clamped to [-64, 63]."""
        with torch.no_grad():
            return [
                torch.clamp(torch.round(grid * self.param.encoder_gain), -64, 63)
                for grid in self.latent_grids
            ]

    def network_parameters(
        self, module: str, kind: Literal["weight", "bias"]
    ) -> list[nn.Parameter]:
        """Parameters of one module in stream order (coolchic-5, section 4.1)."""
        layers: list[Any]
        if module == "arm":
            layers = [*self.arm.hidden, self.arm.output]
            layers += [] if self.arm.stabiliser is None else [self.arm.stabiliser]
        elif module == "ifce":
            layers = [] if self.ifce is None else list(self.ifce.layers.values())
        elif module == "upsampling":
            layers = [*self.upsampling.x2, *self.upsampling.preconcat]
        else:
            layers = [self.synthesis.output_transform]
            layers += [] if self.synthesis.stabiliser is None else [self.synthesis.stabiliser]
            layers += list(self.synthesis.trunk)
        return [getattr(layer, kind) for layer in layers]

    def forget_quantisation(self) -> None:
        """Forget steps and orders, as if there had been no quantisation."""
        self.nn_q_step, self.nn_expgol_cnt = _descriptor(None), _descriptor(None)

    def get_network_rate(self) -> tuple[DescriptorCoolChic, int]:
        """Bits of the parameters of every module, and their sum; 0 where not quantised."""
        rate = _descriptor(0)
        for module in MODULES:
            for kind in KINDS:
                step = self.nn_q_step[module][kind]
                order = self.nn_expgol_cnt[module][kind]
                if step is None or order is None:
                    continue
                for p in self.network_parameters(module, kind):  # type: ignore[arg-type]
                    integers = torch.round(p.detach() / step).to(torch.int64).flatten().tolist()
                    rate[module][kind] += len(expgolomb.encode(integers, order))
        total = 0
        for module in MODULES:
            total += sum(rate[module].values())
        return rate, total

    def get_network_quantization_step(self) -> DescriptorCoolChic:
        """Quantisation step of every module and kind, None before quantisation."""
        return self.nn_q_step

    def get_network_expgol_count(self) -> DescriptorCoolChic:
        """Exp-Golomb order of every module and kind, None before quantisation."""
        return self.nn_expgol_cnt

    def get_flops(self) -> None:
        """Count multiply-accumulates; sets ``total_flops`` and ``flops_str``."""
        self.total_flops = self._macs().total
        self.flops_str = self.str_complexity()

    def _macs(self) -> Macs:
        return count_macs(self.header)

    def get_total_mac_per_pixel(self) -> float:
        """Multiply-accumulates per decoded pixel."""
        height, width = self.param.img_size
        return self._macs().total / (height * width)

    def str_complexity(self) -> str:
        """Table of multiply-accumulates and parameters per module."""
        lines = [f"{'module':12s} {'MAC':>14s} {'parameters':>12s}"]
        for module, macs in self._macs()._asdict().items():
            sizes: list[int] = [
                p.numel()
                for kind in KINDS
                for p in self.network_parameters(module, kind)  # type: ignore[arg-type]
            ]
            lines.append(f"{module:12s} {macs:14d} {sum(sizes):12d}")
        return "\n".join(lines)


def rate_parameters(model: CoolChicEncoder) -> list[nn.Parameter]:
    """Parameters of ARM and IFCE, in the order of the rate sweep."""
    layers: list[Any] = [*model.arm.hidden, model.arm.output]
    layers += [] if model.arm.stabiliser is None else [model.arm.stabiliser]
    layers += [] if model.ifce is None else list(model.ifce.layers.values())
    return [parameter for layer in layers for parameter in (layer.weight, layer.bias)]


def picture_parameters(model: CoolChicEncoder) -> list[nn.Parameter]:
    """Trained parameters between latents and picture, in the order of the kernels.

    Returns
    -------
    list of Parameter
        x2 filters and pre-concatenation filters, coarsest first, weight and bias of every layer of
        the trunk, and those of the stabiliser if there is one.
    """
    synthesis = model.synthesis
    layers: list[Any] = list(synthesis.trunk)
    layers += [] if synthesis.stabiliser is None else [synthesis.stabiliser]
    filters: list[Any] = [*model.upsampling.x2, *model.upsampling.preconcat]
    return [
        *(filter_.weight for filter_ in filters),
        *(parameter for layer in layers for parameter in (layer.weight, layer.bias)),
    ]


def _descriptor(value: Any) -> DescriptorCoolChic:
    return {module: dict.fromkeys(KINDS, value) for module in MODULES}
