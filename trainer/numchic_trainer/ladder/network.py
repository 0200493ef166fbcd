# SPDX-License-Identifier: BSD-3-Clause
"""The ladder VAE: bottom-up over the picture, top-down over the latents (ladder-stochastic, 13)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
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

_STRIP = 64  # rows
_MARGIN = 8  # on its own level a row sees at most 6 rows above and below
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
        features = [finest, *self._coarser(1, self.down[0](finest))]
        return self._descend(features, _size(features[-1]), sample)[0]

    def latents(self, picture: Tensor, lmbda: float) -> list[Tensor]:
        """Means of the posteriors, the latents of :meth:`forward` without sampling.

        The two finest levels would need many maps of 12 and of 24 channels. They are worked on in
        strips of rows instead, since there nothing sees further than a few rows.

        Parameters
        ----------
        picture : Tensor, shape (1, 3, H, W)
        lmbda : float

        Returns
        -------
        list of Tensor, shape (1, 1, H', W')
            As in :meth:`forward`.

        Raises
        ------
        NumchicError
            A parameter of a distribution is not a finite number.
        """
        padded = _padded(picture, lmbda)
        height = padded.shape[-2]
        second = self._second(padded)
        coarser, t = self._coarsest(self.down[1](second))
        found = _in_strips(height // 2, lambda s: self._lower(s.of(t, 2), s.of(second)))
        z, t = found[:, :1], found[:, 1:]
        finest = _in_strips(height, lambda s: self._lowest(s.of(t, 2), s.of(padded)))
        return [finest, z, *coarser]

    def _second(self, padded: Tensor) -> Tensor:
        """Features of the second level."""
        height = padded.shape[-2]
        halved = _in_strips(height, lambda s: self.down[0](self._finest(s.of(padded))), 2)
        return _in_strips(height // 2, lambda s: self.bottom_up[1](s.of(halved)))

    def _coarsest(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        """Latents of all levels but two, from what comes down to the first of these, and output."""
        features = self._coarser(2, x)
        data, t = self._descend(features, _size(features[-1]), sample=False, lowest=2)
        return [level["z"] for level in data], t

    def _lower(self, t: Tensor, features: Tensor) -> Tensor:
        """Latent of the second level and its output, as channels of one tensor."""
        above = self._raised(1, t)
        z = self._mean(1, self._merged(1, above, features))
        return torch.cat([z, self.top_down[1](above + self._block(1).conv_out(z))], 1)

    def _lowest(self, t: Tensor, padded: Tensor) -> Tensor:
        """Latent of the finest level."""
        return self._mean(0, self._merged(0, self._raised(0, t), self._finest(padded)))

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
        """Top-down pass, from the prior of the coarsest grid to a lowest level, and its output.

        The features are those of the levels from the lowest on.
        """
        t = self.top_prior.expand(-1, -1, *top)
        found: list[StochasticData] = []
        for i in reversed(range(lowest, N_LEVELS)):
            is_top = i == N_LEVELS - 1
            try:
                own = None if features is None else features[i - lowest]
                out, data = self._draw(i, t, own, sample)
            except ValueError as error:  # diverged, or from a pack that somebody made up
                raise NumchicError(f"the ladder gives no numbers: {error}", f"level {i}") from error
            found.append(data)
            t = self.top_down[i](out if is_top else t + out)
            if i > lowest:
                t = self._raised(i - 1, t)
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

    def _coarser(self, i: int, x: Tensor) -> list[Tensor]:
        """Features of the levels from i on, from what comes down to it."""
        features = [self.bottom_up[i](x)]
        for down, residual in zip(self.down[i:], self.bottom_up[i + 1 :], strict=True):
            features.append(residual(down(features[-1])))
        return features

    def _raised(self, i: int, t: Tensor) -> Tensor:
        """Output of the level above i at its resolution."""
        return cast("Tensor", self.up[i](F.interpolate(t, scale_factor=2, mode="nearest")))


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

    def of(self, x: Tensor, factor: int = 1) -> Tensor:
        """Cut the strip out of what is smaller by a factor."""
        return x[..., self.low // factor : self.high // factor, :]


def _in_strips(height: int, work: Callable[[_Strip], Tensor], factor: int = 1) -> Tensor:
    """Put together what is made of strips, which is smaller by a factor."""
    whole = None
    for strip in _strips(height):
        part = work(strip)
        if whole is None:
            whole = part.new_empty((*part.shape[:-2], height // factor, part.shape[-1]))
        inner = slice((strip.start - strip.low) // factor, (strip.end - strip.low) // factor)
        whole[..., strip.start // factor : strip.end // factor, :] = part[..., inner, :]
    assert whole is not None
    return whole


def _strips(height: int) -> list[_Strip]:
    """Strips of a level."""
    bounds = [*range(0, height, _STRIP), height]
    return [
        _Strip(start, end, max(0, start - _MARGIN), min(height, end + _MARGIN))
        for start, end in itertools.pairwise(bounds)
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
