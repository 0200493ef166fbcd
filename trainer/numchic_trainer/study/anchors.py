# SPDX-License-Identifier: BSD-3-Clause
"""Anchors of a study by what users call them."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Sequence

from numchic_bitstream import UsageError
from numchic_trainer.study.codec import Codec
from numchic_trainer.study.images import KINDS, USUAL, available
from numchic_trainer.study.programs import parse_program


def usual_anchors() -> list[Codec]:
    """JPEG, WebP, AVIF and JPEG XL, as far as Pillow has them here."""
    return [KINDS[name] for name in USUAL if available(name)]


def parse_anchors(anchors: Sequence[str], qualities: Sequence[tuple[str, ...]]) -> list[Codec]:
    """Codecs of what users write.

    Parameters
    ----------
    anchors : sequence of str
        ``avif`` or another name of :data:`numchic_trainer.study.images.KINDS`, ``avif:30,60`` with
        qualities, or ``NAME=COMMANDS`` (:mod:`numchic_trainer.study.programs`).
    qualities : sequence of tuple of str
        Values of ``{q}``, for all commands or for one after the other.

    Raises
    ------
    UsageError
        There is no such codec, Pillow does not have it here, a quality is none, a command lacks
        something, or two anchors have one name.
    """
    n_programs = sum("=" in anchor for anchor in anchors)
    if qualities and not n_programs:
        found, allowed = ",".join(qualities[0]), "jpeg:20,40 for codecs of Pillow"
        raise UsageError("this is for anchors with commands", "q", None, found, allowed)
    if len(qualities) not in (0, 1, n_programs):
        allowed = "one list for all anchors with commands, or one for each"
        raise UsageError("too many or too few lists", "q", None, len(qualities), allowed)
    lists = list(qualities) * n_programs if len(qualities) == 1 else list(qualities)
    left = iter(lists or [()] * n_programs)
    codecs: list[Codec] = [
        parse_program(anchor, next(left)) if "=" in anchor else _parse_kind(anchor)
        for anchor in anchors
    ]
    name, count = Counter(["numchic", *(codec.name for codec in codecs)]).most_common(1)[0]
    if count > 1:
        raise UsageError("two codecs have this name", "anchor", None, name)
    return codecs


def _parse_kind(text: str) -> Codec:
    name, colon, qualities = text.partition(":")
    if name not in KINDS:
        allowed = f"{', '.join(KINDS)}, or NAME=COMMANDS"
        raise UsageError("unknown codec", "anchor", None, name, allowed)
    if not available(name):
        hint = "pip install pillow-jxl-plugin" if name == "jxl" else "a Pillow with this codec"
        raise UsageError("Pillow cannot encode this here", "anchor", None, name, hint)
    if not colon:
        return KINDS[name]
    words = [word.strip() for word in qualities.split(",")]
    if not all(re.fullmatch("[0-9]{1,3}", word) and int(word) <= 100 for word in words):
        raise UsageError("no qualities", "anchor", None, qualities, "whole numbers, 0 .. 100")
    return dataclasses.replace(
        KINDS[name], settings=tuple(dict.fromkeys(str(int(word)) for word in words))
    )
