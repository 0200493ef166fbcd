# SPDX-License-Identifier: BSD-3-Clause
"""Upsampling of 4.x: latent and noise planes -> synthesis inputs (coolchic-4.2, 10 and 11). Float.

A latent plane is refined at its own resolution and then doubled until it has the size of the
output; noise planes are doubled with a fixed kernel. Every product and sum is rounded to float32,
rows are filtered before columns, taps are added from left to right and top to bottom.

The last step, which makes most of the data, is done for a range of rows at a time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from numchic.filters import preconcat_rows
from numchic.randomness import normal_samples
from numchic.v4.arm import REACH
from numchic.v4.latents import interior
from numchic_bitstream.arrays import F32, F32_1D, F32_2D, I32
from numchic_bitstream.kernels import kernel
from numchic_bitstream.v4.headers import CoolChicHeader
from numchic_bitstream.v4.parameters import Parameters

_CUBIC = (-0.10546875, 0.87890625, 0.26171875, -0.03515625)
# Even outputs use the even taps: the coefficients at 3/4, which are those at 1/4 reversed.
_NOISE_KERNEL = np.array([_CUBIC[::-1], _CUBIC], np.float32).T.reshape(-1)
_NOISE_STEP = np.float32(256)


@dataclass(frozen=True)
class _Channel:
    """One synthesis input: its resolution, and whether it is noise or a latent that is coded."""

    resolution: int
    noise: bool
    coded: bool


class Upsampler:
    """Makes the synthesis inputs of one decoder.

    Parameters
    ----------
    header : CoolChicHeader
    parameters : Parameters
    noise_start : int
        Noise samples drawn in the file before those of this decoder.

    Attributes
    ----------
    reach : int
        Rows of the finest latent that an output row needs above and below itself.

    Notes
    -----
    :meth:`prepare` must have seen all latents but that of the output's resolution before
    :meth:`rows` is called.
    """

    def __init__(self, header: CoolChicHeader, parameters: Parameters, noise_start: int) -> None:
        lat = header.topology.lat
        self._parameters = parameters
        self._sizes = header.derived.sizes
        self._lead = header.lead
        self._channels = [
            _Channel(i, False, header.len_lat[i] > 0)
            for i, present in enumerate(lat.latent)
            if present
        ]
        self._channels += [
            _Channel(i, True, not header.latents_zero)
            for i, present in enumerate(lat.noise)
            if present
        ]
        self._noise_starts = {}
        for channel in self._channels:
            if channel.noise:
                self._noise_starts[channel.resolution] = noise_start
                height, width = self._sizes[channel.resolution]
                noise_start += height * width
        self._planes: dict[_Channel, F32] = {}  # one step before the size of the output
        self._finest = np.zeros((0, 0), np.int32)
        self.reach = header.topology.ups.pre_size // 2

    def prepare(self, latents: dict[int, I32]) -> None:
        """Take the latents by resolution and bring them to twice the resolution of the output.

        They are planes with their margins, as they are decoded. The plane of the output's own
        resolution may still be empty of content.
        """
        self._finest = latents.get(self._lead, self._finest)
        for channel in self._channels:
            i = channel.resolution
            if not channel.coded or i == self._lead:
                continue
            if channel.noise:
                height, width = self._sizes[i]
                plane = _noise_rows(self._noise_starts[i], 0, height, width)
            else:
                plane = self._refine(latents[i], i)
            for j in range(i - 1, self._lead, -1):
                height, width = self._sizes[j]
                finer = np.empty((height, width), np.float32)
                double_rows(plane, self._kernel(channel, j), 0, width, 0, finer)
                plane = finer
            self._planes[channel] = plane

    def _refine(self, latent: I32, i: int) -> F32:
        if i == len(self._sizes) - 1:
            return interior(latent).astype(np.float32)
        refined = np.empty(self._sizes[i], np.float32)
        preconcat_rows(latent, self._refinement(i), 0, 0, refined, border=REACH)
        return refined

    def _refinement(self, i: int) -> F32:
        """Kernel for the latent of resolution i."""
        return self._parameters.pre[(len(self._sizes) - 2 - i) % len(self._parameters.pre)]

    def _kernel(self, channel: _Channel, j: int) -> F32:
        """Kernel of the step to resolution j."""
        if channel.noise:
            return _NOISE_KERNEL
        return self._parameters.ups[(len(self._sizes) - 2 - j) % len(self._parameters.ups)]

    def rows(self, first: int, margin: int, out: F32) -> None:
        """Write rows first, first + 1, ... of all synthesis inputs.

        Parameters
        ----------
        first, margin : int
            First row; number of columns on each side of ``out`` to leave alone.
        out : float32[nL + nN, n_rows, margin + w + margin]
            Output.
        """
        width = self._sizes[self._lead][1]
        inside = slice(margin, margin + width)
        for channel, target in zip(self._channels, out, strict=True):
            if not channel.coded:
                target[:, inside] = 0
            elif channel.resolution > self._lead:
                kernel = self._kernel(channel, self._lead)
                double_rows(self._planes[channel], kernel, first, width, margin, target)
            elif channel.noise:
                start = self._noise_starts[channel.resolution]
                target[:, inside] = _noise_rows(start, first, target.shape[0], width)
            else:
                taps = self._refinement(self._lead)
                preconcat_rows(self._finest, taps, first, margin, target, border=REACH)


def _noise_rows(start: int, first: int, n_rows: int, width: int) -> F32:
    """Rows first, first + 1, ... of the noise plane whose samples begin at ``start``."""
    samples = normal_samples(n_rows * width, start + first * width)
    # Multiplying by a power of two is exact, in float32 as in the float64 of the specification. The
    # integers between the two steps know no negative zero.
    integers: F32 = np.trunc(samples * _NOISE_STEP) + np.float32(0)
    samples = integers / _NOISE_STEP
    return samples.reshape(n_rows, width)


def double_rows(plane: F32, taps: F32, first: int, out_width: int, margin: int, out: F32) -> None:
    """Double a plane with ``up2`` and write some rows of the result.

    Parameters
    ----------
    plane : float32[h, w]
    taps : float32[K]
        K a multiple of 4.
    first : int
        First output row.
    out_width, margin : int
        Output columns, 2 * w or 2 * w - 1; columns of ``out`` in front of them.
    out : float32[n_rows, >= margin + out_width]
        Output.
    """
    height, width = plane.shape
    reach = taps.size // 4
    # Input rows that the output rows reach; clipped ones are the edge rows themselves.
    low = max(0, min(height - 1, first // 2 - reach))
    high = min(height - 1, (first + out.shape[0] - 1) // 2 + reach)
    padded = np.empty(width + 2 * reach, np.float32)
    phases = np.empty((2, width), np.float32)
    wide = np.empty((high - low + 1, out_width), np.float32)
    _double_rows(plane, taps, first, low, margin, padded, phases, wide, out)


@kernel(entry=True)
def _double_rows(
    plane: F32_2D,
    taps: F32_1D,
    first: int,
    low: int,
    margin: int,
    padded: F32_1D,
    phases: F32_2D,
    wide: F32_2D,
    out: F32_2D,
) -> None:
    """Do the same with scratch; ``wide`` is for the input rows low, low + 1, ..."""
    height, width = plane.shape
    n_rows, out_width = out.shape[0], wide.shape[1]
    n_taps = taps.size // 2
    reach = n_taps // 2
    for y in range(low, low + wide.shape[0]):
        for x in range(padded.size):
            padded[x] = plane[y, min(max(x - reach, 0), width - 1)]
        for e in range(2):
            phase = phases[e]
            phase[:] = 0.0
            for j in range(n_taps):
                tap = taps[2 * j + e]
                source = padded[j + e :]
                for x in range(width):
                    phase[x] += source[x] * tap
        even, odd = phases[0], phases[1]
        row = wide[y - low]
        for x in range(out_width // 2):
            row[2 * x] = even[x]
            row[2 * x + 1] = odd[x]
        if out_width % 2 == 1:
            row[out_width - 1] = even[width - 1]
    for i in range(n_rows):
        e = (first + i) % 2
        target = out[i, margin : margin + out_width]
        target[:] = 0.0
        for j in range(n_taps):
            tap = taps[2 * j + e]
            y = (first + i) // 2 - reach + e + j
            source = wide[min(max(y, 0), height - 1) - low]
            for x in range(out_width):
                target[x] += source[x] * tap
