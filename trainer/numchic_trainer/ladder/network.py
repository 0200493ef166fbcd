# SPDX-License-Identifier: BSD-3-Clause
"""The ladder VAE: bottom-up over the picture, top-down over the latents (ladder-stochastic, 13)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from numchic_bitstream import NumchicError
from numchic_trainer.ladder.stochastic import NormalStochasticBlock, StochasticData

WIDTHS = (12, 24, 32, 32, 32, 32, 32)
N_LEVELS = len(WIDTHS)
MULTIPLE = 128
"""Heights and widths are padded to multiples of it, so that the coarsest grid is even."""

_STRIP = MULTIPLE  # rows
_MARGIN = 8  # a row of the finest level sees 5 rows above and below, that of the next one 4
_SLOPE = 0.01  # of the leaky ReLU
_LOG_VAR = math.log(1 / 12)  # of rounding to integers
_MEAN_DEVIATION = 0.08  # of the initial weights that make the mean of q


class _Residual(nn.Module):
    """x + conv(lrelu(conv(lrelu(x))))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(F.leaky_relu(x, _SLOPE))
        y = x + self.second(F.leaky_relu(y, _SLOPE))
        return cast("Tensor", y)


class Ladder(nn.Module):
    """Predicts the latents of a picture: level i has the resolution of latent grid i.

    The standard deviation of every posterior is that of rounding to integers, so that the latents
    are in the units of the decoder; :meth:`pin` must be called after every optimiser step.
    """

    def __init__(self) -> None:
        super().__init__()
        levels = list(enumerate(WIDTHS))
        steps = list(itertools.pairwise(WIDTHS))
        self.stem = nn.Conv2d(4, WIDTHS[0], 3, padding=1)
        self.bottom_up = nn.ModuleList(_Residual(w) for w in WIDTHS)
        self.down = nn.ModuleList(nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in steps)
        self.merge = nn.ModuleList(nn.Conv2d(2 * w, w, 1) for w in WIDTHS[:-1])
        self.merged = nn.ModuleList(_Residual(w) for w in WIDTHS)
        self.blocks = nn.ModuleList(
            NormalStochasticBlock(w, 1, w, transform_p_params=i < N_LEVELS - 1) for i, w in levels
        )
        self.top_down = nn.ModuleList(_Residual(w) for w in WIDTHS)
        self.up = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in steps)
        self.top_prior = nn.Parameter(torch.zeros(1, 2, 1, 1))
        with torch.no_grad():
            for i in range(N_LEVELS):
                self._block(i).conv_in_q.weight[0].normal_(0.0, _MEAN_DEVIATION)
        self.pin()

    def pin(self) -> None:
        """Set the deviation of all posteriors to that of rounding to integers."""
        with torch.no_grad():
            for i in range(N_LEVELS):
                posterior = self._block(i).conv_in_q
                posterior.weight[1].zero_()
                cast("Tensor", posterior.bias)[1] = _LOG_VAR

    def _block(self, i: int) -> NormalStochasticBlock:
        return cast("NormalStochasticBlock", self.blocks[i])

    def forward(self, picture: Tensor, lmbda: float, *, sample: bool) -> list[StochasticData]:
        """Run the ladder over a batch of pictures.

        Parameters
        ----------
        picture : Tensor, shape (B, 3, H, W)
            RGB in [0, 1].
        lmbda : float
            Weight of the rate that the latents are for.
        sample : bool
            Draw the latents; otherwise take the means of their posteriors.

        Returns
        -------
        list of StochasticData
            Finest level first. The latents have shape (B, 1, H', W') with H' and W' the sizes,
            padded to multiples of 128, divided by 2^i.

        Raises
        ------
        NumchicError
            A parameter of a distribution is not a finite number.
        """
        finest = self._finest(_padded(picture, lmbda))
        features = [finest, *self._coarser(self.down[0](finest))]
        return self._descend(features, _size(features[-1]), sample)[0]

    def latents(self, picture: Tensor, lmbda: float) -> list[Tensor]:
        """Means of the posteriors, the latents of :meth:`forward` without sampling.

        The finest level would need several maps of 12 channels at full size. It is worked on in
        strips of rows instead, since there nothing sees further than a few rows.

        Parameters
        ----------
        picture : Tensor, shape (1, 3, H, W)
        lmbda : float

        Returns
        -------
        list of Tensor, shape (1, 1, H', W')
            As in :meth:`forward`.
        """
        padded = _padded(picture, lmbda)
        strips = _strips(padded.shape[-2])
        halves = [
            self.down[0](self._finest(padded[..., s.low : s.high, :]))[..., s.kept(2), :]
            for s in strips
        ]
        features = self._coarser(torch.cat(halves, -2))
        data, t = self._descend([halves[0], *features], _size(features[-1]), False, lowest=1)
        finest = []
        for s in strips:
            above = F.interpolate(t[..., s.low // 2 : s.high // 2, :], scale_factor=2)
            own = self._finest(padded[..., s.low : s.high, :])
            finest.append(self._mean(0, self._merged(0, self.up[0](above), own))[..., s.kept(1), :])
        return [torch.cat(finest, -2), *(level["z"] for level in data)]

    def expected(self, img_size: tuple[int, int]) -> list[StochasticData]:
        """Means of the priors, without looking at a picture; shapes as of :meth:`forward`."""
        height, width = (-(-n // MULTIPLE) * (MULTIPLE >> (N_LEVELS - 1)) for n in img_size)
        return self._descend(None, (height, width), sample=False)[0]

    def _descend(
        self,
        features: Sequence[Tensor] | None,
        top: tuple[int, int],
        sample: bool,
        lowest: int = 0,
    ) -> tuple[list[StochasticData], Tensor]:
        """Top-down pass, from the prior of the coarsest grid to a lowest level, and its output."""
        t = self.top_prior.expand(-1, -1, *top)
        found: list[StochasticData] = []
        for i in reversed(range(lowest, N_LEVELS)):
            is_top = i == N_LEVELS - 1
            try:
                out, data = self._draw(i, t, None if features is None else features[i], sample)
            except ValueError as error:  # diverged, or from a pack that somebody made up
                raise NumchicError(f"the ladder gives no numbers: {error}", f"level {i}") from error
            found.append(data)
            t = self.top_down[i](out if is_top else t + out)
            if i > lowest:
                t = self.up[i - 1](F.interpolate(t, scale_factor=2, mode="nearest"))
        return found[::-1], t

    def _draw(
        self, i: int, t: Tensor, features: Tensor | None, sample: bool
    ) -> tuple[Tensor, StochasticData]:
        block = self._block(i)
        if features is None:
            return block.forward(t, mode_pred=True, use_uncond_mode=True)
        q_in = self._merged(i, t, features)
        forced = None if sample else self._mean(i, q_in)
        return block.forward(t, q_in, forced_latent=forced, analytical_kl=True)

    def _merged(self, i: int, t: Tensor, features: Tensor) -> Tensor:
        """What the posterior of a level is made of."""
        if i < N_LEVELS - 1:
            features = self.merge[i](torch.cat([features, t], 1))
        return cast("Tensor", self.merged[i](features))

    def _mean(self, i: int, q_in: Tensor) -> Tensor:
        return self._block(i).process_q_params(q_in, None)[0].get()

    def _finest(self, padded: Tensor) -> Tensor:
        """Features at full size."""
        return cast("Tensor", self.bottom_up[0](self.stem(padded)))

    def _coarser(self, x: Tensor) -> list[Tensor]:
        """Features of the other levels, from what comes down from the first."""
        features = [self.bottom_up[1](x)]
        for down, residual in zip(self.down[1:], self.bottom_up[2:], strict=True):
            features.append(residual(down(features[-1])))
        return features


def _padded(picture: Tensor, lmbda: float) -> Tensor:
    """Picture of a multiple of 128 rows and columns, and a channel that tells lambda."""
    height, width = picture.shape[-2:]
    padded = F.pad(picture - 0.5, (0, -width % MULTIPLE, 0, -height % MULTIPLE), mode="replicate")
    constant = torch.full_like(padded[:, :1], condition(lmbda))
    return torch.cat([padded, constant], 1)


def _size(x: Tensor) -> tuple[int, int]:
    return x.shape[-2], x.shape[-1]


class _Strip(NamedTuple):
    """Rows ``start`` to ``end`` and, with what they need around them, ``low`` to ``high``."""

    start: int
    end: int
    low: int
    high: int

    def kept(self, factor: int) -> slice:
        """Where the rows are in a result of the strip that is smaller by a factor."""
        return slice((self.start - self.low) // factor, (self.end - self.low) // factor)


def _strips(height: int) -> list[_Strip]:
    """Strips of a picture."""
    return [
        _Strip(
            start, start + _STRIP, max(0, start - _MARGIN), min(height, start + _STRIP + _MARGIN)
        )
        for start in range(0, height, _STRIP)
    ]


def condition(lmbda: float) -> float:
    """How lambda is told to networks: its common logarithm, 0 at 1e-3.

    Examples
    --------
    >>> round(condition(1e-2), 6)
    1.0
    """
    return math.log10(lmbda) + 3.0


def crop(latents: Sequence[Tensor], img_size: tuple[int, int]) -> list[Tensor]:
    """Cut the padding off latents of shape (B, 1, h, w): grid i keeps ceil(size / 2^i)."""
    height, width = img_size
    return [z[..., : -(-height >> i), : -(-width >> i)] for i, z in enumerate(latents)]
