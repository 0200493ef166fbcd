# SPDX-License-Identifier: BSD-3-Clause
"""The list of everything that vectors have to exercise.

Not coverable, and therefore not in the list:

- The largest `n_bytes_latent`, a whole stream or metadata beyond the limits: 256, 256 and 4 MB.
- `nn_n_bytes` below 4: the smallest network takes four bytes.
- `p_pos` up to 4094: 4095 frames of which some are P frames would take a megabyte; intra frames do.
- A range coder that has coded no symbol (8.4): every stream has a grid, every grid a sample.
- A sum in the range coder that wraps to exactly 0 (8.4): 1 in 2^32 at the best.
- Three padding bits after a Cool-chic header: no n in 1..7 makes 205 + 13 n one of 5, 13, 21, ...
- Reconstruction of inter frames (13.2, 13.3): this decoder does not do it yet; vectors record what
  comes before.
"""

from __future__ import annotations

from numchic_conformance.coverage.items.decoding import decoding_items
from numchic_conformance.coverage.items.headers import header_items
from numchic_conformance.coverage.items.item import Item
from numchic_conformance.coverage.items.refusals import refusal_items, trailer_items

__all__ = ["Item", "all_items"]


def all_items() -> list[Item]:
    """Return all items, by section."""
    return [*header_items(), *decoding_items(), *refusal_items(), *trailer_items()]
