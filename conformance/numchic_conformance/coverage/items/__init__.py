# SPDX-License-Identifier: BSD-3-Clause
"""The list of everything that vectors have to exercise.

Not coverable, and therefore not in the list:

- The largest `n_bytes_latent`, a whole stream or metadata beyond the limits: 256, 256 and 4 MB.
- `nn_n_bytes` below 4: the smallest network takes four bytes.
- `p_pos` up to 4094: 4095 frames of which some are P frames would take a megabyte; intra frames do.
- A range coder that has coded no symbol (8.4): every stream has a grid, every grid a sample.
- A sum in the range coder that wraps to exactly 0 (8.4): 1 in 2^32 at the best.
- Three padding bits after a Cool-chic header: no n in 1..7 makes 205 + 13 n one of 5, 13, 21, ...
- In 4.x, sums that wrap around and values that are no numbers: what a decoder makes of them is not
  defined.
"""

from __future__ import annotations

from numchic_conformance.coverage.items.decoding import decoding_items
from numchic_conformance.coverage.items.headers import header_items
from numchic_conformance.coverage.items.item import Item
from numchic_conformance.coverage.items.refusals import refusal_items, trailer_items
from numchic_conformance.coverage.items.v4 import items4

__all__ = ["Item", "all_items"]


def all_items() -> list[Item]:
    """Return all items, by section."""
    generation5 = [*header_items(), *decoding_items(), *refusal_items(), *trailer_items()]
    return [*generation5, *items4()]
