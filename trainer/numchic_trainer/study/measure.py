# SPDX-License-Identifier: BSD-3-Clause
"""One measurement: encode, decode, compare."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from pytorch_msssim import ms_ssim

from numchic.picture import Picture
from numchic_bitstream import UsageError
from numchic_trainer.quality import mean_squared_error, plane_error, psnr
from numchic_trainer.study.codec import Codec, Heed
from numchic_trainer.study.point import Point

MIN_MS_SSIM = 161
"""The smallest side of a picture of which MS-SSIM is defined: four halvings of windows of 11."""

# The system counts the time of a process with all its threads, and that of all its children: a
# thread of a cluster's worker would count the work of the others.
_ONE_AT_A_TIME = threading.Lock()


@dataclass(frozen=True)
class Task:
    """What is to be measured.

    Attributes
    ----------
    name : str
        Of the picture.
    picture : Picture
        Its samples, since another machine may not see the file.
    codec : Codec
    setting : str
    key : str
        Digest of all that the result depends on.
    checkpoint : Path or None
        Where an interrupted encode is kept.
    """

    name: str
    picture: Picture
    codec: Codec
    setting: str
    key: str
    checkpoint: Path | None


@dataclass(frozen=True)
class Measured:
    """A point, the stream that it is of, and what machine its times are those of."""

    point: Point
    stream: bytes
    machine: str


def unheeded(*_: object) -> None:
    """Heed nothing: the work is wanted, or nobody can be asked."""


def measure(task: Task, heed: Heed = unheeded) -> Measured:
    """Encode a picture, decode it, and measure both, one at a time in a process.

    Raises
    ------
    UsageError
        The codec cannot encode this picture, fails, or gives another picture back.
    """
    with _ONE_AT_A_TIME:
        return _measure(task, heed)


def _measure(task: Task, heed: Heed) -> Measured:
    codec, source = task.codec, task.picture
    coded = codec.encode(source, task.setting, task.checkpoint, heed)
    if not coded.stream:
        raise UsageError("the stream is empty", codec.name)
    decoded, decode_seconds = codec.decode(coded.stream, heed)
    _check_form(codec, source, decoded)
    size = len(coded.stream)
    planes = [
        psnr(plane_error(ours, theirs, source.bitdepth))
        for ours, theirs in zip(source.planes, decoded.planes, strict=True)
    ]
    point = Point(
        picture=task.name,
        width=source.width,
        height=source.height,
        curve=codec.curve,
        codec=codec.name,
        setting=task.setting,
        bytes=size,
        bpp=8 * size / (source.width * source.height),
        psnr_db=psnr(mean_squared_error(source, decoded)),
        psnr_0_db=planes[0],
        psnr_1_db=planes[1],
        psnr_2_db=planes[2],
        ms_ssim=structural_similarity(source, decoded),
        encode_cpu_s=coded.cpu_seconds,
        decode_cpu_s=decode_seconds,
        timing=codec.timing,
        **coded.facts,
    )
    return Measured(point, coded.stream, _this_machine())


@functools.cache
def _this_machine() -> str:
    return (
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}, NumPy {np.__version__}, torch {torch.__version__}"
    )


def _check_form(codec: Codec, source: Picture, decoded: Picture) -> None:
    """Refuse what cannot be compared: codecs by command line may give back anything."""
    found, wanted = (
        f"{p.width}x{p.height}, {p.data_type}, {p.bitdepth} bits" for p in (decoded, source)
    )
    if found != wanted:
        raise UsageError("the decoded picture has another form", codec.name, None, found, wanted)


def structural_similarity(source: Picture, decoded: Picture) -> float | None:
    """MS-SSIM by pytorch-msssim: of RGB the mean of the channels, else of Y; None if too small."""
    if min(source.width, source.height) < MIN_MS_SSIM:
        return None
    n_planes = 3 if source.data_type == "rgb" else 1
    maximum = float((1 << source.bitdepth) - 1)
    one, other = (
        torch.stack([torch.from_numpy(p.astype("float64")) for p in picture.planes[:n_planes]])
        for picture in (source, decoded)
    )
    return float(ms_ssim(one[None] / maximum, other[None] / maximum, data_range=1.0))


def key_of(digest: str, codec: Codec, setting: str) -> str:
    """Digest of a picture's file, given by its own digest, and of what else a point depends on."""
    text = f"{digest} {codec.identity(setting)}"
    # Names of the command line may have bytes that are no text.
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:24]
