# SPDX-License-Identifier: BSD-3-Clause
"""Bits of a block of symbols under Laplace distributions, with slopes (training, section 3.3)."""

from __future__ import annotations

import numpy as np

from numchic_bitstream.arrays import F32
from numchic_bitstream.kernels import kernel
from numchic_trainer.kernels.elementary import exp, log2

MAX_LOG_SCALE = np.float32(5.0)

_ZERO, _HALF, _ONE = np.float32(0.0), np.float32(0.5), np.float32(1.0)
_NAN = np.float32(np.nan)
_MIN_PROBABILITY = np.float32(2.0**-16)
_FAR = np.float32(65536.0)  # from here on a probability is at its floor
_MIN_EXPONENT = np.float32(-87.0)  # exp() of it is still a normal number
_SLOPE = np.float32(-0.5 / np.log(2.0))  # -1 / (2 ln 2)


@kernel()
def laplace(out: F32, symbols: F32, n: int, scale: np.float32, bits: F32, slope: F32) -> None:
    """Bits of the first n symbols, and ``scale`` times their slopes by the two outputs of the ARM.

    With u = (d - 1/2) / b, v = (d + 1/2) / b and A = exp(-|u|) the closed form of the text is
    evaluated without differences of nearly equal numbers, also for large scales b:
    if d >= 1/2, E = 1 - exp(-1/b): A - B = A E and p = A E / 2;
    else: p = ((1 - A) + (1 - B)) / 2.

    Parameters
    ----------
    out : float32[>= 2, B]
        mu and ln b before its clamp.
    symbols, bits : float32[B]
    n : int
    scale : float
    slope : float32[>= 2, B]
        Result.
    """
    mean, log_scale, latent = out[0, :n], out[1, :n], symbols[:n]
    value, by_mean, by_scale = bits[:n], slope[0, :n], slope[1, :n]
    for k in range(n):
        raw = log_scale[k]
        low = raw if raw > -MAX_LOG_SCALE else -MAX_LOG_SCALE
        clamped = low if low < MAX_LOG_SCALE else MAX_LOG_SCALE
        inverse, _ = exp(-clamped)
        signed = latent[k] - mean[k]
        d = signed if signed > _ZERO else -signed
        d = d if d < _FAR else _FAR
        u, v = (d - _HALF) * inverse, (d + _HALF) * inverse
        tail = d >= _HALF
        a, not_a = exp(max(-u if tail else u, _MIN_EXPONENT))
        b, not_b = exp(max(-(inverse if tail else v), _MIN_EXPONENT))  # in the tail this is E
        total = a * not_b if tail else not_a + not_b  # 2 p
        near = a - b if a < _HALF else not_b - not_a
        difference = total if tail else near  # A - B
        dp_dscale = a * (not_b * v - inverse) if tail else a * u - b * v  # 2 dp/dln b
        p = total * _HALF
        counts = p > _MIN_PROBABILITY
        p = p if counts else _MIN_PROBABILITY
        value[k] = _NAN if np.isnan(signed) | np.isnan(raw) else -log2(p)
        factor = (_SLOPE * scale if counts else _ZERO) / p
        inside = factor if raw == clamped else _ZERO
        steep = difference * inverse * factor  # for d = 0 the difference is exactly 0
        by_mean[k] = steep if signed > _ZERO else -steep
        by_scale[k] = dp_dscale * inside
