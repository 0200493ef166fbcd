# SPDX-License-Identifier: BSD-3-Clause
"""A picture of where a ladder spends bits (ladder-stochastic, 13)."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from numchic.picture import Picture
from numchic_bitstream import UsageError
from numchic_bitstream.arrays import F64
from numchic_trainer.architecture import architecture
from numchic_trainer.config import Preset, TrainConfig
from numchic_trainer.figures import show, to_rgb
from numchic_trainer.ladder.network import N_LEVELS, crop
from numchic_trainer.ladder.pack import Pack
from numchic_trainer.model.encoder import CoolChicEncoder


class Inspection(NamedTuple):
    """What a ladder thinks of a picture of H x W pixels.

    ``latents`` and ``bits`` have one array of shape (h, w) per level, finest first: the means of
    the posteriors and the KL divergence in bits; ``decoded`` and ``expected`` are RGB in [0, 1],
    shape (H, W, 3): what the shared networks make of the latents, rounded, and of the means of the
    priors, drawn without looking at the picture.
    """

    latents: list[F64]
    bits: list[F64]
    decoded: F64
    expected: F64


def inspect(pack: Pack, picture: Picture, preset: Preset, lmbda: float) -> Inspection:
    """Run the ladder of a pack over a picture.

    Raises
    ------
    UsageError
        The picture is not RGB, or the pack has no networks of this preset or for this lambda.
    """
    if picture.data_type != "rgb":
        raise UsageError("the ladder knows RGB pictures only", "picture", None, picture.data_type)
    if preset not in pack.decoders:
        raise UsageError(
            "the pack has no such networks", "preset", None, preset, ", ".join(pack.decoders)
        )
    low, high = pack.lambdas
    if not low <= lmbda <= high:
        raise UsageError(
            "the pack is not for this lambda", "lmbda", None, lmbda, f"{low:g} .. {high:g}"
        )
    size = (picture.height, picture.width)
    rgb = torch.from_numpy(to_rgb(picture).astype(np.float32)).permute(2, 0, 1)[None]
    with torch.no_grad():
        data = pack.ladder(rgb, lmbda, sample=False)
        latents = crop([level["z"] for level in data], size)
        bits = crop([_spatial(level["kl_spatial"])[:, None] for level in data], size)
        config = TrainConfig(hyperlatent_resolution=None, latent_resolution=(0, N_LEVELS - 1))
        model = CoolChicEncoder(architecture(config, preset, size))
        networks = pack.decoders[preset].networks(lmbda)
        model.load_state_dict(networks, strict=False)
        expected = crop([level["z"] for level in pack.ladder.expected(size)], size)
        return Inspection(
            [_array(z) for z in latents],
            [_array(b) for b in bits],
            _render(model, latents),
            _render(model, expected),
        )


def draw(picture: Picture, inspection: Inspection) -> Figure:
    """Draw an inspection: pictures above, where the bits go below."""
    height, width = picture.height, picture.width
    panel = min(max(3.2 * height / width, 1.6), 5.0) + 0.6
    figure = Figure((13, 3 * panel), layout="constrained")
    rows = figure.subplots(3, 4)
    total = sum(_spread(b, i, (height, width)) for i, b in enumerate(inspection.bits))
    assert isinstance(total, np.ndarray)
    show(rows[0, 0], to_rgb(picture), "picture")
    show(rows[0, 1], inspection.decoded, "its latents, shared networks")
    show(rows[0, 2], inspection.expected, "mean of the prior")
    bpp = sum(float(b.sum()) for b in inspection.bits) / (height * width)
    image = show(rows[0, 3], total, f"KL divergence: {bpp:.3f} bits per pixel", cmap="viridis")
    figure.colorbar(image, ax=rows[0, 3], shrink=0.7)
    for axes in rows[1:].ravel()[N_LEVELS:]:
        axes.set_axis_off()
    for i, (axes, bits, z) in enumerate(
        zip(rows[1:].ravel(), inspection.bits, inspection.latents, strict=False)
    ):
        title = f"1/{1 << i}: {bits.sum() / 8:.0f} bytes, |z| up to {np.abs(z).max():.1f}"
        limit = float(np.quantile(bits, 0.995))
        image = show(axes, bits, title, cmap="viridis", vmin=0.0, vmax=max(limit, 1e-3))
        figure.colorbar(image, ax=axes, shrink=0.7)
    return figure


def _spatial(kl: Tensor | None) -> Tensor:
    assert kl is not None  # there is a posterior
    return kl / math.log(2)


def _array(x: Tensor) -> F64:
    array: F64 = x[0, 0].numpy().astype(np.float64)
    return array


def _render(model: CoolChicEncoder, latents: list[Tensor]) -> F64:
    """Picture of rounded latents."""
    dense = model.dense([torch.round(z[0, 0]) for z in latents])
    rgb: F64 = torch.clamp(model.render(dense)[0], 0.0, 1.0).permute(1, 2, 0).numpy()
    return rgb.astype(np.float64)


def _spread(bits: F64, level: int, size: tuple[int, int]) -> F64:
    """Bits per pixel of a level, every sample spread over the pixels that it covers."""
    rows, columns = (np.arange(n) >> level for n in size)
    spread: F64 = bits[rows][:, columns] / 4**level
    return spread
