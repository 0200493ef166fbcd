# SPDX-License-Identifier: BSD-3-Clause
"""Encodes of clips beside what other encoders have made of them (video-training, section 17)."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from numchic_bitstream import UsageError, read_stream
from numchic_trainer.settings import settings_of
from numchic_trainer.video.config import VideoConfig
from numchic_trainer.video.encoding import encode_video
from numchic_trainer.video.frames import open_video
from numchic_trainer.video.result import VideoResult

Row = dict[str, Any]

KEYS = ("clip", "frames", "codec", "setting")
"""What tells one row from another."""

_LAMBDA = 1e-3  # of the loss in all rows, whatever the settings say
_COLUMNS = {
    "bytes": "bytes",
    "headers": "bytes_headers",
    "networks": "bytes_nn",
    "latents": "bytes_latents",
    **{name: name for name in ("psnr_y", "psnr_u", "psnr_v", "psnr_yuv", "loss_x1000")},
    "cpu_s_per_frame": "cpu_s_per_frame",
}
"""Names of what is measured, and what tables of other encoders call it."""

ABLATIONS: dict[str, dict[str, Any]] = {
    "without donors": {"donors": False},
    "without the rate of networks": {"network_rate": 0.0},
    "without choice of models": {"inter_preset": ("lop",)},
    "without a start of the motion": {"motion_start": False},
}


def parse_settings(text: str) -> dict[str, Any]:
    """Settings of a video in ``name=value,...``.

    Items without a name are further values of the setting before: ``inter_iterations=300,200``.

    Raises
    ------
    UsageError
        There is no such setting, or it does not have such a value.
    """
    words: dict[str, str] = {}
    for item in text.split(",") if text else ():
        name, equals, value = item.partition("=")
        if equals:
            words[name] = value
        elif words:
            words[next(reversed(words))] += "," + item
        else:
            raise UsageError("not a setting", "settings", None, item, "name=value,...")
    known = settings_of(VideoConfig)
    found = {}
    for name, word in words.items():
        if name not in known:
            raise UsageError("no such setting", "settings", None, name, ", ".join(known))
        try:
            flags = {"True": True, "False": False}
            found[name] = flags[word] if word in flags else known[name].parse(word)
        except ValueError:
            raise UsageError("illegal setting", name, None, word, known[name].allowed) from None
    return found


def measure_clip(
    clip: Path,
    frames: slice | None,
    structures: Sequence[str],
    settings: dict[str, Any],
    *,
    ablations: bool = False,
    anchors: Path | None = None,
) -> Iterator[Row]:
    """Encode a clip.

    Parameters
    ----------
    clip : Path
    frames : slice or None
        All by default.
    structures : sequence of str
    settings : dict
        Of :class:`VideoConfig`; one thread unless they say more.
    ablations : bool
        Whether to encode again without one thing after the other.
    anchors : Path, optional
        Table of other encoders.

    Yields
    ------
    dict
        A row for every encode, then those of :func:`anchor_rows` for the least loss of these.
    """
    variants = {"": {}, **(ABLATIONS if ablations else {})}
    with open_video(clip, frames=frames) as reader:
        rows: list[Row] = []
        for structure in structures:
            for name, changed in variants.items():
                given = {"threads": 1, **settings, "structure": structure, **changed}
                row = {"clip": clip.name, "frames": reader.n_frames, "codec": structure}
                result = encode_video(reader, VideoConfig(**given))
                rows.append(row | {"setting": name or "as asked"} | _measured(result))
                yield rows[-1]
    if anchors is not None:
        least = min(row["loss_x1000"] for row in rows)
        yield from anchor_rows(anchors, clip.name, rows[0]["frames"], least)


def _measured(result: VideoResult) -> Row:
    """Sizes without trailer; ``psnr_yuv`` is that of the mean error of all samples."""
    n_bytes = len(result.stream) - result.trailer_bytes
    networks, latents = (
        sum(getattr(f, f"residue_{part}") + getattr(f, f"motion_{part}") for f in result.frames)
        for part in ("network_bytes", "latent_bytes")
    )
    headers = sum(frame.header_bytes for frame in result.frames)
    headers += read_stream(result.stream).header.n_bytes_header
    y, u, v = result.plane_psnr_db
    return {
        "bytes": n_bytes,
        "headers": headers,
        "networks": networks,
        "latents": latents,
        "psnr_y": round(y, 3),
        "psnr_u": round(u, 3),
        "psnr_v": round(v, 3),
        "psnr_yuv": round(result.psnr_db, 3),
        "loss_x1000": round(1000 * (result.mse + _LAMBDA * result.bits_per_pixel), 5),
        "cpu_s_per_frame": round(result.cpu_seconds / len(result.frames), 3),
    }


def anchor_rows(table: Path, clip: str, n_frames: int, loss: float) -> Iterator[Row]:
    """Yield rows of other encoders for a clip.

    Parameters
    ----------
    table : Path
        Tab-separated values with a row for every file and, where that is known, for every frame.
    clip : str
        Name of the file.
    n_frames : int
    loss : float
        Times 1000. Of the rows of an encoder those of the least loss and of the loss that is
        nearest to this one are taken; the latter may be far from what suits the lambda.

    Raises
    ------
    UsageError
        It is no such table.
    """
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    try:
        by_codec: dict[str, list[dict[str, str]]] = {}
        for row in rows:
            if (row["clip"], row["n_frames"], row["frame"]) == (clip, str(n_frames), "all"):
                by_codec.setdefault(row["codec"], []).append(row)
        for _, found in sorted(by_codec.items()):
            best = min(found, key=_loss)
            near = min(found, key=lambda row: abs(_loss(row) - loss))
            yield from map(_anchor, [best] if near is best else [best, near])
    except (KeyError, ValueError) as error:
        raise UsageError(f"not a table of anchors: {error}", table.name) from error


def _loss(row: dict[str, str]) -> float:
    return float(row["loss_x1000"])


def _anchor(row: dict[str, str]) -> Row:
    """Row of a table of anchors as one of ours."""
    named = {"clip": row["clip"], "frames": int(row["n_frames"])}
    measured = {
        name: int(text) if text.isdigit() else float(text)
        for name, column in _COLUMNS.items()
        if (text := row.get(column))
    }
    return named | {"codec": row["codec"], "setting": row["setting"]} | measured
