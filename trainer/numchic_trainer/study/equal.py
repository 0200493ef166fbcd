# SPDX-License-Identifier: BSD-3-Clause
"""Streams of about equal size, for pictures side by side."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from numchic_trainer.study.codec import Codec, Numchic
from numchic_trainer.study.images import ImageCodec
from numchic_trainer.study.measure import Measured

_WITHIN = 1.25
"""Sizes in this ratio are about equal."""

Measure = Callable[[Codec, str], Measured | None]
"""Measures a picture, or finds what was measured; None if that fails."""


def at_equal_size(codecs: Sequence[Codec], measure: Measure) -> list[tuple[Codec, Measured]]:
    """One stream of every codec, of about the size of a rather small one of the first.

    Differences are seen at low rates: the size is that of the second smallest stream. Qualities of
    image codecs are searched, so that their streams are the largest that are not larger; of others
    it is the point nearest in size, if there is one within a quarter.
    """
    sizes = sorted(
        len(found.stream)
        for setting in codecs[0].settings
        if (found := measure(codecs[0], setting)) is not None
    )
    if not sizes:
        return []
    n_bytes = sizes[min(1, len(sizes) - 1)]
    chosen = []
    for codec in codecs:
        search = _largest_within if isinstance(codec, ImageCodec) else _nearest
        found = search(codec, n_bytes, measure)
        if found is not None:
            chosen.append((codec, found))
    return chosen


def ours_first(codecs: Sequence[Codec]) -> list[Codec]:
    """Codecs, ours first: their streams give the size."""
    return sorted(codecs, key=lambda codec: not isinstance(codec, Numchic))


def _largest_within(codec: Codec, n_bytes: int, measure: Measure) -> Measured | None:
    """Bisect qualities of 0 .. 100, of which larger ones give larger streams."""
    best, low, high = None, 0, 100
    while low <= high:
        middle = (low + high) // 2
        found = measure(codec, str(middle))
        if found is not None and len(found.stream) <= n_bytes:
            best, low = found, middle + 1
        else:
            high = middle - 1
    return best


def _nearest(codec: Codec, n_bytes: int, measure: Measure) -> Measured | None:
    def ratio(measured: Measured) -> float:
        return abs(math.log(len(measured.stream) / n_bytes))

    found = [m for setting in codec.settings if (m := measure(codec, setting)) is not None]
    nearest = min(found, key=ratio, default=None)
    return nearest if nearest is not None and ratio(nearest) <= math.log(_WITHIN) else None
