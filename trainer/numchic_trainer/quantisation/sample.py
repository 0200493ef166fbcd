# SPDX-License-Identifier: BSD-3-Clause
"""A fixed sample of a picture, on which candidates for the networks are judged.

With fixed latents the loss falls into halves: ARM and IFCE change the rate only, synthesis and
upsampling the picture only. A small picture is judged as a whole. Of a large one the rate is that
of symbols spread over all grids, and the distortion that of blocks spread over the picture. What
does not depend on the networks is found once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

import numpy as np
import torch
from torch import Tensor

from numchic.v5.context import NEIGHBOURS
from numchic_bitstream.arrays import F32, I64
from numchic_trainer.model.arm import ArmLinear
from numchic_trainer.model.encoder import CoolChicEncoder
from numchic_trainer.model.functions import arm_rate
from numchic_trainer.training.target import Target

BLOCK = 64  # rows and columns of a block; even, for 4:2:0

_SPARED = 256  # a grid with no more symbols is taken entirely


class Part(NamedTuple):
    """Symbols of the same weight.

    Attributes
    ----------
    weight : float
        Number of symbols of the picture that one of these stands for.
    spatial : Tensor, shape (S, n)
    stacks : list of Tensor, shape (C_k, n_k)
        Inputs of the IFCE per grid, none (C_k = 0) if it has no IFCE; the n_k add up to n.
    symbols : Tensor, shape (n,)
    """

    weight: float
    spatial: Tensor
    stacks: list[Tensor]
    symbols: Tensor


class RateSample:
    """Symbols by which the bits of all latents are estimated.

    Parameters
    ----------
    model : CoolChicEncoder
    n_symbols : int
        About as many symbols are taken: small grids entirely, and of the others one in so many. If
        there are no more, all are taken.
    """

    def __init__(self, model: CoolChicEncoder, n_symbols: int) -> None:
        self.model = model
        grids: list[F32] = [grid.numpy() for grid in model.quantised_latents()]
        n_small = sum(grid.size for grid in grids if grid.size <= _SPARED)
        n_large = sum(grid.size for grid in grids) - n_small
        stride = n_large / max(n_symbols - n_small, 1)
        if stride <= 1.0:
            self.parts = [self._part(grids, [1.0] * len(grids))]
        else:
            small = [1.0 if grid.size <= _SPARED else math.inf for grid in grids]
            large = [stride if grid.size > _SPARED else math.inf for grid in grids]
            self.parts = [self._part(grids, small), self._part(grids, large, stride)]

    def _part(self, grids: list[F32], strides: Sequence[float], weight: float = 1.0) -> Part:
        rng = np.random.default_rng(0)
        inputs = [0] * len(grids) if self.model.ifce is None else self.model.ifce.inputs
        spatial, stacks, symbols = [], [], []
        for k, stride in enumerate(strides):
            places = _places(grids[k].size, stride, rng)
            spatial.append(_neighbours(grids[k], places, self.model.param.spatial_context_arm))
            stacks.append(_coarser(grids, k, places, inputs[k]))
            symbols.append(torch.from_numpy(grids[k].ravel()[places]))
        return Part(weight, torch.cat(spatial, 1), stacks, torch.cat(symbols))

    @property
    def n_symbols(self) -> int:
        """Number of symbols in the sample."""
        return sum(part.symbols.numel() for part in self.parts)

    def contexts(self) -> list[Tensor]:
        """Contexts of every part with the present IFCE, shape (D, n)."""
        ifce = self.model.ifce
        if ifce is None:
            return [part.spatial for part in self.parts]
        contexts = []
        for part in self.parts:
            features = []
            for k, stack in enumerate(part.stacks):
                if len(stack):
                    layer = cast("ArmLinear", ifce.layers[str(k)])
                    features.append(layer.weight @ stack + layer.bias[:, None])
                else:
                    features.append(stack.new_zeros(ifce.n_features, stack.shape[1]))
            contexts.append(torch.cat([part.spatial, torch.cat(features, 1)]))
        return contexts

    def bits(self, contexts: list[Tensor] | None = None) -> Tensor:
        """Estimate of the bits of all latents; ``contexts`` are computed unless given."""
        arm = self.model.arm
        hidden = [(layer.weight, layer.bias) for layer in cast("list[ArmLinear]", [*arm.hidden])]
        output = (arm.output.weight, arm.output.bias)
        side = None if arm.stabiliser is None else (arm.stabiliser.weight, arm.stabiliser.bias)
        total = torch.zeros(())
        for part, rows in zip(self.parts, contexts or self.contexts(), strict=True):
            bits = arm_rate(rows, part.symbols, hidden, output, side, arm.dim_arm == 2)
            total = total + part.weight * bits
        return total


def _places(n: int, stride: float, rng: np.random.Generator) -> I64:
    """One of every ``stride`` places below n, each at random; all for 1, none for infinity."""
    if stride == 1.0:
        return np.arange(n)
    starts = np.arange(int(n / stride)) * stride
    return np.minimum((starts + stride * rng.random(starts.size)).astype(np.int64), n - 1)


def _neighbours(grid: F32, places: I64, n_spatial: int) -> Tensor:
    """Spatial contexts of some symbols, zeros outside the grid: float32[S, n]."""
    offsets = np.array(NEIGHBOURS[:n_spatial]).reshape(-1, 2)
    reach = int(np.abs(offsets).max(initial=0))
    padded = np.pad(grid, ((reach, 0), (reach, reach)))
    y, x = np.divmod(places, grid.shape[1])
    start = (y + reach) * padded.shape[1] + x + reach
    flat = padded.ravel()
    rows = np.empty((n_spatial, places.size), np.float32)
    for row, (dy, dx) in zip(rows, offsets, strict=True):
        np.take(flat, start + (dy * padded.shape[1] + dx), out=row, mode="clip")
    return torch.from_numpy(rows)


def _coarser(grids: list[F32], k: int, places: I64, n_inputs: int) -> Tensor:
    """Symbols of the coarser grids that the IFCE of grid k sees (coolchic-5, section 6.2)."""
    rows = np.zeros((n_inputs, places.size), np.float32)
    if not n_inputs:
        return torch.from_numpy(rows)
    y, x = np.divmod(places, grids[k].shape[1])
    finer: tuple[int, ...] = ()
    for row, grid in zip(rows, grids[k + 1 :], strict=False):  # the last grid sees zeros
        if grid.shape != finer:
            y, x = y >> 1, x >> 1
        np.take(grid.ravel(), y * grid.shape[1] + x, out=row, mode="clip")
        finer = grid.shape
    return torch.from_numpy(rows)


class PictureSample:
    """Blocks by which the distortion of the picture is estimated.

    Parameters
    ----------
    model : CoolChicEncoder
    target : Target
    n_pixels : int
        About as many pixels are taken; of a picture with no more, all. It is also taken as a whole
        if a final resize follows the synthesis, or the distortion is no mean over the picture.
    """

    def __init__(self, model: CoolChicEncoder, target: Target, n_pixels: int) -> None:
        self.model = model
        self.grids = model.quantised_latents()
        self.target = target
        self.reach = model.header.derived.reach
        self.blocks = _blocks(model, target, n_pixels)
        latents = model.header.derived.latents(self.grids)
        self.crops = [_Crop(model, latents, *block) for block in self.blocks]
        self.windows = [target.window(*block) for block in self.blocks]

    def dense(self) -> Tensor:
        """Input of the synthesis with the present upsampling, shape (1, S, h, w).

        Blocks lie below each other, with the surroundings that the synthesis sees.
        """
        if not self.crops:
            return self.model.dense(self.grids)
        return torch.cat([crop.dense(self.model) for crop in self.crops], 2)

    def render(self, dense: Tensor) -> Tensor:
        """Output of the networks, shape (1, C, h', w')."""
        if not self.crops:
            return self.model.render(dense)
        raw: Tensor = self.model.synthesis(dense)
        inner = slice(self.reach, self.reach + BLOCK)
        blocks = raw.view(1, raw.shape[1], len(self.crops), -1, raw.shape[3])
        return blocks[:, :, :, inner, inner].flatten(2, 3)

    def distortion(self, dense: Tensor, *, rounded: bool) -> Tensor:
        """Estimate of the distortion of the picture."""
        raw = self.render(dense)
        if not self.crops:
            return self.target.distortion(raw, rounded=rounded)
        blocks = torch.split(raw, BLOCK, 2)
        found = [
            window.distortion(block, rounded=rounded)
            for window, block in zip(self.windows, blocks, strict=True)
        ]
        return torch.stack(found).mean()


def _blocks(model: CoolChicEncoder, target: Target, n_pixels: int) -> list[tuple[slice, slice]]:
    """Rows and columns of blocks, evenly spread over a picture without its border."""
    height, width = model.param.img_size
    reach = model.header.derived.reach
    side = BLOCK + 2 * (reach + reach % 2)
    is_simple = model.param.latent_resolution[0] == 0 and target.has_windows
    if height * width <= n_pixels or min(height, width) < side or not is_simple:
        return []
    count = max(1, n_pixels // BLOCK**2)
    n_down = min(max(1, round(math.sqrt(count * height / width))), height // BLOCK, count)
    n_across = min(max(1, count // n_down), width // BLOCK)
    return [
        (slice(y, y + BLOCK), slice(x, x + BLOCK))
        for y in _spread(n_down, height, reach)
        for x in _spread(n_across, width, reach)
    ]


def _spread(n: int, size: int, reach: int) -> list[int]:
    """Even starts of n blocks in the middle of n equal parts of the size."""
    starts = [int((i + 0.5) * size / n - BLOCK / 2) & -2 for i in range(n)]
    margin = reach + reach % 2
    return [min(max(start, margin), (size - BLOCK - margin) & -2) for start in starts]


class _Crop:
    """The latents that a block and its surroundings depend on."""

    def __init__(
        self, model: CoolChicEncoder, latents: Sequence[Tensor], rows: slice, columns: slice
    ) -> None:
        reach = model.header.derived.reach
        self.rows = slice(rows.start - reach, rows.stop + reach)
        self.columns = slice(columns.start - reach, columns.stop + reach)
        down, across = (
            _ranges(model, side, [latent.shape[axis] for latent in latents])
            for axis, side in enumerate((self.rows, self.columns))
        )
        self.origins = [(r.start, c.start) for r, c in zip(down, across, strict=True)]
        self.latents = [
            latent[r, c][None, None].contiguous()
            for latent, r, c in zip(latents, down, across, strict=True)
        ]

    def dense(self, model: CoolChicEncoder) -> Tensor:
        """Upsampled latents of the block and its surroundings, shape (1, S, h, w)."""
        dense, origin = self.latents[-1], self.origins[-1]
        x2, preconcat = model.upsampling.x2, model.upsampling.preconcat
        finer = zip(self.latents[-2::-1], self.origins[-2::-1], strict=True)
        for step, (latent, start) in enumerate(finer):
            doubled: Tensor = x2[min(step, len(x2) - 1)](dense)
            y, x = start[0] - 2 * origin[0], start[1] - 2 * origin[1]
            doubled = doubled[..., y : y + latent.shape[2], x : x + latent.shape[3]]
            filtered = preconcat[min(step, len(preconcat) - 1)](latent)
            dense, origin = torch.cat([filtered, doubled], 1), start
        top, left = self.rows.start - origin[0], self.columns.start - origin[1]
        height, width = (side.stop - side.start for side in (self.rows, self.columns))
        dense = dense[..., top : top + height, left : left + width]
        if model.param.flag_common_randomness:
            noise = cast("Tensor", model.noise)[..., self.rows, self.columns]
            dense = torch.cat([dense, noise], 1)
        return dense


def _ranges(model: CoolChicEncoder, side: slice, sizes: Sequence[int]) -> list[slice]:
    """Rows or columns of every level, finest first.

    They go so far beyond what is needed that it does not matter how the filters treat the border
    of a crop; where the border is that of the picture, they treat it as they should.
    """
    reach, half = model.param.ups_preconcat_k_size // 2, model.param.ups_k_size // 2
    low, high = side.start, side.stop
    ranges = []
    for size in sizes:
        ranges.append(slice(max(low - reach, 0), min(high + reach, size)))
        low, high = low // 2 - half - reach, -(-high // 2) + half + reach
    return ranges


class HalfLosses:
    """The two halves of the loss of a model whose latents are fixed, without the networks' bits.

    Parameters
    ----------
    model : CoolChicEncoder
    target : Target
    n_samples : int
        Number of symbols, and of pixels, of a large picture that are looked at.
    """

    def __init__(self, model: CoolChicEncoder, target: Target, n_samples: int) -> None:
        self.rate_weight = target.rate_weight()
        self.symbols = RateSample(model, n_samples)
        self.picture = PictureSample(model, target, n_samples)

    def half(self, module: str) -> Callable[[bool], Tensor]:
        """Function for the half that a module changes, the other modules being fixed.

        Its argument says whether samples are rounded, which makes it exact but without gradient.
        What the module is fed is computed once.
        """
        if module == "arm":
            with torch.no_grad():
                contexts = self.symbols.contexts()
            return lambda _: self.rate_weight * self.symbols.bits(contexts)
        if module == "ifce":
            return self.rate
        if module == "synthesis":
            with torch.no_grad():  # else the way back into all blocks would be kept
                dense = self.picture.dense()
            return lambda rounded: self.picture.distortion(dense, rounded=rounded)
        return lambda rounded: self.picture.distortion(self.picture.dense(), rounded=rounded)

    def rate(self, _: bool = True) -> Tensor:
        """Weighted bits of the latents."""
        return self.rate_weight * self.symbols.bits()
