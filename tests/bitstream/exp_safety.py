# SPDX-License-Identifier: BSD-3-Clause
"""Check that any ordinary float64 exponential gives the same counts (coolchic-5, section 8.2).

For every scale and every distance of a symbol bound from mu, on both sides, the truncated integer
of the quantised Laplace model must stay the same when the exponential is multiplied by
1 + 2**-48 or 1 - 2**-48, and it must be that of the exponential that the decoder uses::

    python tests/bitstream/exp_safety.py [--short] [--bits 48]

The exit status is 1 if a count changes; with ``--bits 47`` two do. Distance zero needs no check:
the exponential is 1 there with every implementation.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from numchic_bitstream.v5.laplace import N_SCALES, exponentials, scale_table

# Bounds are multiples of 1/2 and mu of 1/256, so distances are multiples of 1/256.
# The largest one is from -63.5, the lower bound of symbol -63, to mu = 63.99609375.
N_DISTANCES = 32640
ALL_SCALES = range(N_SCALES)
SHORT = (*range(0, N_SCALES, 97), N_SCALES - 1)


class Change(NamedTuple):
    """A count that depends on the exponential."""

    scale_index: int
    distance: int
    side: str


def changes(scale_indices: Iterable[int], bits: int) -> list[Change]:
    """Counts that change when the exponential is off by a relative error of 2**-bits, or ours."""
    found = []
    distances = np.arange(1, N_DISTANCES) / 256
    for scale_index in scale_indices:
        exponents = -distances / float(scale_table()[scale_index])
        decay = np.exp(exponents)
        exact, ours = _counts(decay), _counts(exponentials(exponents))
        less, more = _counts(decay * (1 - 2.0**-bits)), _counts(decay * (1 + 2.0**-bits))
        differ = (less != exact) | (more != exact) | (ours != exact)
        for side, distance in np.argwhere(differ).tolist():
            found.append(Change(scale_index, distance + 1, ("below", "above")[side]))
    return found


def _counts(decay: np.ndarray[tuple[int], np.dtype[np.float64]]) -> np.ndarray[tuple[int, ...]]:
    """Truncated integers for bounds below and above mu."""
    below, above = 0.5 * decay, 1.0 - 0.5 * decay
    return np.trunc(16777088.0 * np.stack([below, above]))


def main() -> int:
    parser = argparse.ArgumentParser(description="check the safety of the exponential")
    parser.add_argument("--short", action="store_true", help="every 97th scale only")
    parser.add_argument("--bits", type=int, default=48, help="relative error 2**-BITS (48)")
    options = parser.parse_args()
    scales = SHORT if options.short else ALL_SCALES
    start = time.monotonic()
    found = changes(scales, options.bits)
    print(
        f"{len(scales)} scales x {N_DISTANCES} distances x 2 sides, "
        f"exponential off by 2**-{options.bits} either way, and ours: "
        f"{len(found)} counts change ({time.monotonic() - start:.1f} s)"
    )
    for change in found[:10]:
        print(f"  {change}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
