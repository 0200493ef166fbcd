# SPDX-License-Identifier: BSD-3-Clause
"""One point of a rate-distortion curve: a picture, a codec, a setting, and what came of them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Point:
    """A row of ``results.csv``; None is an empty field.

    Attributes
    ----------
    picture : str
        Name of its file.
    width, height : int
    curve : str
        Codec with all its settings but the one that moves along the curve.
    codec : str
    setting : str
        What moves along the curve: lambda or a quality.
    bytes : int
        Of the stream: ours without a trailer, others the whole file.
    bpp : float
        Bits per pixel.
    psnr_db : float
        From the mean of the squared errors of all samples of all planes; 100 if nothing is lost.
    preset, effort : str or None
        Of numchic.
    psnr_0_db, psnr_1_db, psnr_2_db : float or None
        Of single planes: R, G, B or Y, U, V.
    ms_ssim : float or None
        Mean of the channels in RGB, of Y alone otherwise; None for too small a picture.
    encode_cpu_s, decode_cpu_s : float or None
        CPU seconds.
    timing : str or None
        "call": within a running process; "process": a whole command.
    macs_per_pixel : float or None
        Multiplications of decoding, of numchic.
    """

    picture: str
    width: int
    height: int
    curve: str
    codec: str
    setting: str
    bytes: int
    bpp: float
    psnr_db: float
    preset: str | None = None
    effort: str | None = None
    psnr_0_db: float | None = None
    psnr_1_db: float | None = None
    psnr_2_db: float | None = None
    ms_ssim: float | None = None
    encode_cpu_s: float | None = None
    decode_cpu_s: float | None = None
    timing: str | None = None
    macs_per_pixel: float | None = None
