# SPDX-License-Identifier: BSD-3-Clause
"""Draw clips and train the vectors of ``suites/trained-videos.json``.

``python conformance/make_trained_videos.py [NAME ...]`` takes some minutes; with names it trains
these only, with ``--describe`` it writes the suite anew for the streams that are there. Training
does not give the same bytes on every machine, so these vectors are kept, not made again.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from forms import F64, in_form
from numchic.files.images import write_file
from numchic.picture import Picture
from numchic_bitstream import Metadata
from numchic_conformance import Level, Suite, Vector, save_suite
from numchic_conformance.synthetic.describe import describe_valid
from numchic_trainer import VideoConfig, VideoResult, encode_video

FOLDER = Path(__file__).parent
SOURCE = "drawn by conformance/make_trained_videos.py"
LICENCE = "BSD-3-Clause"

_TEXTURE_SIZE = 256
_N_RECORDED = 3  # frames whose stages the suite has

Scene = Callable[[int, F64, F64], F64]
"""RGB float64[H, W, 3] in 0 .. 1 of a time, at rows and columns counted from the middle."""


@cache
def texture(seed: int) -> F64:
    """Noise with the spectrum of photographs, and edges: float64[256, 256, 3], periodic."""
    rng = np.random.default_rng(seed)
    frequencies = np.fft.fftfreq(_TEXTURE_SIZE)
    spectrum = np.hypot(frequencies[:, None], frequencies) + 2 / _TEXTURE_SIZE

    def cloud() -> F64:
        noise = np.fft.fft2(rng.standard_normal((_TEXTURE_SIZE, _TEXTURE_SIZE)))
        drawn: F64 = np.fft.ifft2(noise / spectrum**2).real
        drawn /= drawn.std()
        return drawn

    luma = cloud() + 0.7 * np.tanh(8 * cloud() - 2)
    return np.stack([0.5 + 0.16 * luma + 0.06 * cloud() for _ in range(3)], 2)


def look(seed: int, y: F64, x: F64) -> F64:
    """Texture at any places, interpolated linearly."""
    picture = texture(seed)
    rows, columns = np.floor(y).astype(int), np.floor(x).astype(int)
    down, right = (y - rows)[..., None], (x - columns)[..., None]

    def at(dy: int, dx: int) -> F64:
        samples: F64 = picture[(rows + dy) % _TEXTURE_SIZE, (columns + dx) % _TEXTURE_SIZE]
        return samples

    upper = (1 - right) * at(0, 0) + right * at(0, 1)
    lower = (1 - right) * at(1, 0) + right * at(1, 1)
    samples: F64 = np.clip((1 - down) * upper + down * lower, 0, 1)
    return samples


def pan(dy: float, dx: float, seed: int = 1) -> Scene:
    """The camera moves by so many pixels per frame."""
    return lambda t, y, x: look(seed, y + dy * t, x + dx * t)


def zoom(per_frame: float, angle: float = 0.0, seed: int = 2) -> Scene:
    """The camera comes nearer, and turns by an angle per frame."""

    def scene(t: int, y: F64, x: F64) -> F64:
        scale, cos, sin = per_frame**-t, np.cos(angle * t), np.sin(angle * t)
        return look(seed, scale * (cos * y - sin * x), scale * (sin * y + cos * x))

    return scene


def occlusion(background: Scene, dy: float, dx: float, seed: int = 3) -> Scene:
    """A disc with a texture of its own moves over a background."""

    def scene(t: int, y: F64, x: F64) -> F64:
        own_y, own_x = y - dy * (t - 2), x - dx * (t - 2)
        inside = (np.hypot(own_y, own_x) < 13)[..., None]
        return np.where(inside, 1 - 0.8 * look(seed, own_y, own_x), background(t, y, x))

    return scene


def fade(first: Scene, second: Scene, n_frames: int) -> Scene:
    """One scene becomes another."""

    def scene(t: int, y: F64, x: F64) -> F64:
        share = t / (n_frames - 1)
        return (1 - share) * first(t, y, x) + share * second(t, y, x)

    return scene


def cut(first: Scene, second: Scene, at: int) -> Scene:
    """One scene is followed by another."""
    return lambda t, y, x: (first if t < at else second)(t, y, x)


PAN = pan(0.75, 2.25)
DISC = occlusion(pan(0.0, 0.5), 1.5, 4.0)
ZOOM = zoom(1.03, 0.02)


@dataclass(frozen=True)
class Encode:
    """One vector to train: a scene, how it is shown, and the settings."""

    name: str
    description: str
    scene: Scene
    n_frames: int
    size: tuple[int, int]
    form: tuple[str, int]
    settings: dict[str, Any] = field(default_factory=dict)
    metadata: Metadata | None = None


def _settings(structure: str | None, lmbda: float = 5e-4, **more: Any) -> dict[str, Any]:
    usual = {"preset": "lop", "iterations": 300, "inter_iterations": (300,)}
    return usual | {"structure": structure, "lmbda": lmbda, **more}


_YUV, _DEEP_YUV, _RGB = ("yuv420", 8), ("yuv420", 10), ("rgb", 8)
_RATE = Metadata(text=(("frame-rate", "30000/1001"),))
_TEXTS = Metadata(text=(("Title", "Eine Scheibe"), ("frame-rate", "25/1")))

_STRUCTURES = (
    Encode("intra", "I frames only.", ZOOM, 3, (48, 64), _RGB, _settings("intra")),
    Encode("intra-common-randomness", "I frames tuned for texture, with common randomness.",
           ZOOM, 2, (48, 64), _RGB, _settings("intra", 5e-3, tune="wasserstein")),
    Encode("low-delay", "Every frame from the one before.", PAN, 6, (64, 96), _YUV,
           _settings("low-delay")),
    Encode("random-access-2", "A B frame between two anchors.", DISC, 5, (64, 80), _YUV,
           _settings("random-access:2")),
    Encode("random-access-4", "Two levels of B frames, twice.", DISC, 9, (64, 80), _YUV,
           _settings("random-access:4")),
    Encode("random-access-8", "Three levels of B frames.", ZOOM, 9, (64, 80), _YUV,
           _settings("random-access:8")),
    Encode("random-access-uneven", "B frames that are not in the middle.", PAN, 6, (64, 80), _YUV,
           _settings("random-access")),
    Encode("scene-cut", "Random access, begun anew at a scene cut.", cut(PAN, pan(-1, 1, 4), 4),
           8, (64, 80), _YUV, _settings("auto")),
    Encode("listed", "Lists of I and P frames.", DISC, 8, (48, 64), _YUV,
           _settings(None, intra="0,4", p="2,-1")),
    Encode("between-intra", "B frames between two I frames.", PAN, 5, (48, 64), _YUV,
           _settings(None, intra="0,-1")),
    Encode("wide-gaps", "P frames three frames apart.", PAN, 7, (48, 64), _YUV,
           _settings(None, p="3,6")),
)  # fmt: skip

_FORMS = (
    Encode("yuv420-10", "4:2:0 of 10 bits.", DISC, 5, (64, 96), _DEEP_YUV,
           _settings("random-access:4")),
    Encode("yuv420-12", "4:2:0 of 12 bits, a size that is no multiple of 4.", PAN, 3, (50, 70),
           ("yuv420", 12), _settings("random-access")),
    Encode("yuv444-8", "4:4:4 of 8 bits.", PAN, 3, (48, 64), ("yuv444", 8),
           _settings("low-delay")),
    Encode("yuv444-10-odd-size", "4:4:4 of 10 bits and odd size.", DISC, 5, (45, 67),
           ("yuv444", 10), _settings("random-access:4")),
    Encode("rgb-8-odd-size", "RGB of 8 bits and odd size.", PAN, 3, (51, 63), _RGB,
           _settings("random-access")),
    Encode("rgb-10", "RGB of 10 bits.", ZOOM, 3, (48, 64), ("rgb", 10), _settings("low-delay")),
    Encode("rgb-16", "RGB of 16 bits.", DISC, 3, (48, 64), ("rgb", 16),
           _settings("random-access")),
    Encode("tiny", "Frames of 10 x 6 samples.", PAN, 3, (6, 10), _RGB,
           _settings("random-access", 1e-4)),
    Encode("largest", "Larger frames.", occlusion(PAN, -2, -3), 5, (96, 128), _YUV,
           _settings("random-access:4")),
)  # fmt: skip

_MOTION = (
    *(
        Encode(f"warp-{taps}", f"A warp of {taps} taps.", ZOOM, 3, (48, 64), _YUV,
               _settings("random-access", 1e-4, warp_size=taps))
        for taps in (2, 4, 14)
    ),
    Encode("fast-pan", "Large global translations, forth and back.", pan(-5, 9), 5, (64, 96), _YUV,
           _settings("random-access:4")),
    Encode("standing", "Nothing moves.", pan(0, 0), 4, (48, 64), _YUV, _settings("low-delay")),
    Encode("fade", "A scene becomes another one: means of both references.",
           fade(pan(0, 0), pan(0, 0, 5), 5), 5, (64, 80), _YUV, _settings("random-access:4")),
    Encode("no-motion-start", "Motion that is learned without an estimate.", PAN, 3, (48, 64),
           _YUV, _settings("low-delay", motion_start=False)),
)  # fmt: skip

_NETWORKS = (
    *(
        Encode(f"inter-{preset}", f"P and B frames of the size {preset}.", DISC, 3, (48, 64), _YUV,
               _settings("random-access", lmbda, inter_preset=(preset,)))
        for preset, lmbda in (
            ("skip", 5e-4), ("linear", 5e-4), ("tiny", 3e-4), ("vlop", 2e-4), ("lop", 2e-4),
            ("mop", 1e-4), ("hop", 1e-4),
        )
    ),
    Encode("inter-by-level", "Networks that become smaller with the level.", DISC, 5, (48, 64),
           _YUV, _settings("random-access:4", 2e-4, inter_preset=("lop", "tiny", "linear"))),
    Encode("high-rate", "High rate: large latents.", DISC, 3, (48, 64), _YUV,
           _settings("random-access", 3e-5)),
    Encode("low-rate", "Low rate.", DISC, 5, (64, 96), _YUV, _settings("random-access:4", 1e-2)),
)  # fmt: skip

_TRAILERS = (
    Encode("no-trailer", "No trailer.", PAN, 3, (48, 64), _YUV,
           _settings("random-access", trailer=False)),
    Encode("frame-rate", "A trailer with the frame rate.", PAN, 3, (48, 64), _YUV,
           _settings("low-delay"), _RATE),
    Encode("metadata", "A trailer with texts.", DISC, 3, (48, 64), _RGB,
           _settings("random-access", metadata=True), _TEXTS),
)  # fmt: skip

ENCODES = (*_STRUCTURES, *_FORMS, *_MOTION, *_NETWORKS, *_TRAILERS)


def frames(wanted: Encode) -> list[Picture]:
    """Frames of the scene, in the wanted form."""
    height, width = wanted.size
    y, x = np.mgrid[:height, :width].astype(np.float64)
    y, x = y - height // 2, x - width // 2
    return [
        in_form(wanted.scene(t, y, x), *wanted.form, wanted.metadata)
        for t in range(wanted.n_frames)
    ]


def path_of(wanted: Encode) -> Path:
    """Where the stream lies."""
    return FOLDER / "vectors" / "trained-videos" / f"trained-video-{wanted.name}.cool"


def describe() -> Suite:
    """Suite of all streams."""
    vectors = tuple(map(_vector, ENCODES))
    return Suite("trained-videos", "Videos drawn with NumPy, encoded by our trainer.", vectors)


def _vector(wanted: Encode) -> Vector:
    path = path_of(wanted)
    return describe_valid(
        path,
        path.read_bytes(),
        n_recorded=_N_RECORDED,
        level=Level.CORE,
        description=wanted.description,
        features=("video",),
        source=SOURCE,
        licence=LICENCE,
    )


def _summary(name: str, result: VideoResult) -> str:
    kinds = " ".join(
        f"{f.kind}{f.index}:{f.preset}" for f in sorted(result.frames, key=lambda f: f.index)
    )
    return f"{name}: {len(result.stream)} bytes, {result.psnr_db:.2f} dB; {kinds}"


def main() -> None:
    """Train what is asked for, or everything, and write the suite."""
    names = sys.argv[1:] or [wanted.name for wanted in ENCODES]
    for wanted in ENCODES:
        if wanted.name in names:
            result = encode_video(frames(wanted), VideoConfig(**wanted.settings))
            path_of(wanted).parent.mkdir(parents=True, exist_ok=True)
            write_file(path_of(wanted), result.stream)
            print(_summary(wanted.name, result), flush=True)
    save_suite(describe(), FOLDER / "suites" / "trained-videos.json")


if __name__ == "__main__":
    main()
