# SPDX-License-Identifier: BSD-3-Clause
"""Points of a study as it might be, for tests and for a look at its page."""

from __future__ import annotations

import math

from numchic_trainer.study.point import Point

# Base of the quality in dB at one bit per pixel, CPU seconds of encoding and of decoding.
CODECS = {
    "jpeg": (33.0, 0.02, 0.01),
    "webp": (34.1, 0.3, 0.01),
    "avif": (35.6, 4.0, 0.03),
    "jxl": (35.2, 2.5, 0.04),
    "mycodec": (36.0, 60.0, 9.0),
}
EFFORTS = {"fast": (35.8, 20.0), "medium": (36.5, 90.0), "slow": (36.9, 400.0)}
PRESETS = {"lop": (0.0, 1.0, 640.0), "hop": (0.5, 1.8, 2300.0)}


def study_points(pictures: tuple[str, ...] = ("kodim05.png", "kodim14.png")) -> list[Point]:
    """Five codecs with six qualities, and all presets and efforts with five lambdas."""
    return [point for k, picture in enumerate(pictures) for point in _of_picture(picture, k)]


def _of_picture(picture: str, k: int) -> list[Point]:
    points = []
    harder = 2.5 * k
    for codec, (base, encode, decode) in CODECS.items():
        for quality in (10, 20, 35, 50, 70, 90):
            bpp = 0.12 * math.exp(quality / 30.0) * (1.0 + 0.2 * k)
            timing = "process" if codec == "mycodec" else "call"
            points.append(
                _point(picture, codec, codec, str(quality), bpp, base - harder, encode, decode,
                       timing=timing)
            )  # fmt: skip
    for preset, (gain, slower, macs) in PRESETS.items():
        for effort, (base, encode) in EFFORTS.items():
            for n, lmbda in enumerate(("0.02", "0.004", "0.001", "0.0004", "0.0002")):
                points.append(
                    _point(picture, f"numchic {preset} {effort}", "numchic", lmbda,
                           0.1 * 2.1**n * (1.0 + 0.2 * k), base + gain - harder,
                           encode * slower, 0.08 * slower, preset=preset, effort=effort,
                           timing="call", macs_per_pixel=macs)
                )  # fmt: skip
    return points


def _point(
    picture: str, curve: str, codec: str, setting: str, bpp: float, base: float,
    encode: float, decode: float, *, preset: str | None = None, effort: str | None = None,
    timing: str, macs_per_pixel: float | None = None,
) -> Point:  # fmt: skip
    octaves = math.log2(bpp)
    psnr = base + 3.1 * octaves + 0.12 * octaves**2
    return Point(
        picture, 768, 512, curve, codec, setting, round(bpp * 768 * 512 / 8), bpp, psnr,
        preset, effort, psnr - 0.4, psnr + 0.9, psnr - 0.5,
        1.0 - 10.0 ** (-(0.55 * psnr - 4.0) / 10.0),
        encode * (1.0 + 0.15 * octaves), decode * (1.0 + 0.05 * octaves), timing, macs_per_pixel,
    )  # fmt: skip
