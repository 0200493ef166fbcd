# SPDX-License-Identifier: BSD-3-Clause
"""Train the vectors of ``suites/trained.json``: ``pip install scikit-image``, then run this file.

Takes some minutes. Training does not give the same bytes on every machine, so these vectors are
kept, not made again; with ``--describe`` only the suite is written anew, for the streams that are
there.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import skimage.data
from numpy.typing import NDArray

from forms import in_form
from numchic.files.images import write_file
from numchic.picture import Picture
from numchic_bitstream import Metadata
from numchic_conformance import Level, Suite, Vector, save_suite
from numchic_conformance.synthetic.describe import describe_valid
from numchic_trainer import TrainConfig, encode

FOLDER = Path(__file__).parent
EXAMPLES = FOLDER.parent / "examples"
RGB = NDArray[np.uint8]

SOURCES = {
    "astronaut": ("portrait of Eileen Collins by NASA, as in scikit-image", "public domain"),
    "chelsea": ("cat by Stefan van der Walt, as in scikit-image", "CC0"),
    "coffee": ("cup of coffee by Rachel Michetti, as in scikit-image", "CC0"),
    "rings": ("drawn by examples/make_rings.py", "BSD-3-Clause"),
}


@dataclass(frozen=True)
class Encode:
    """One vector to train: a crop of a picture, the form of its samples, and the settings."""

    name: str
    description: str
    picture: str
    area: tuple[int, int, int, int]
    form: tuple[Any, int] = ("rgb", 8)
    settings: dict[str, Any] = field(default_factory=dict)
    metadata: Metadata | None = None


def _settings(preset: str, lmbda: float, iterations: int = 300, **more: Any) -> dict[str, Any]:
    return {"preset": preset, "lmbda": lmbda, "iterations": iterations, **more}


TEXT = Metadata(text=(("Title", "Ein Kaffee, bitte"), ("Software", "numchic")))

ENCODES = (
    Encode("trained-lop", "Smallest networks.", "astronaut", (20, 180, 80, 96),
           settings=_settings("lop", 2e-3)),
    Encode("trained-mop", "Small networks.", "chelsea", (60, 120, 80, 96),
           settings=_settings("mop", 2e-3)),
    Encode("trained-hop", "Large networks.", "coffee", (120, 250, 80, 96),
           settings=_settings("hop", 2e-3)),
    Encode("trained-vhop", "Largest networks.", "astronaut", (20, 180, 64, 80),
           settings=_settings("vhop", 2e-3)),
    Encode("trained-high-rate", "High rate: large latents.", "chelsea", (100, 100, 64, 80),
           settings=_settings("lop", 1e-4)),
    Encode("trained-low-rate", "Low rate: nearly all latents zero.", "coffee", (60, 120, 96, 128),
           settings=_settings("lop", 2e-2)),
    Encode("trained-random-start", "Networks trained from random numbers.", "coffee",
           (120, 250, 64, 64), settings=_settings("mop", 1e-3, init="zero")),
    Encode("trained-odd-size", "A picture of odd size.", "astronaut", (31, 201, 67, 45),
           settings=_settings("lop", 2e-3)),
    Encode("trained-one-row", "A picture of one row.", "chelsea", (100, 0, 1, 120),
           settings=_settings("lop", 1e-3, iterations=100)),
    Encode("trained-one-column", "A picture of one column.", "chelsea", (0, 150, 120, 1),
           settings=_settings("lop", 1e-3, iterations=100)),
    Encode("trained-tiny", "A picture of 5 x 3 samples.", "coffee", (120, 250, 5, 3),
           settings=_settings("lop", 1e-3, iterations=60)),
    Encode("trained-yuv420-8", "4:2:0 of 8 bits.", "astronaut", (20, 180, 64, 80),
           ("yuv420", 8), _settings("lop", 1e-3)),
    Encode("trained-yuv420-10", "4:2:0 of 10 bits and odd size.", "chelsea", (60, 120, 61, 79),
           ("yuv420", 10), _settings("mop", 1e-3)),
    Encode("trained-yuv444-8", "4:4:4 of 8 bits.", "coffee", (120, 250, 64, 64),
           ("yuv444", 8), _settings("lop", 1e-3)),
    Encode("trained-yuv444-12", "4:4:4 of 12 bits.", "astronaut", (20, 180, 48, 64),
           ("yuv444", 12), _settings("lop", 1e-3)),
    Encode("trained-rgb-10", "RGB of 10 bits.", "chelsea", (60, 120, 48, 64),
           ("rgb", 10), _settings("lop", 1e-3)),
    Encode("trained-rgb-16", "RGB of 16 bits.", "coffee", (120, 250, 48, 64),
           ("rgb", 16), _settings("lop", 1e-3)),
    Encode("trained-no-hyperlatents", "No hyperlatents.", "astronaut", (20, 180, 64, 64),
           settings=_settings("lop", 1e-3, hyperlatent_resolution=None)),
    Encode("trained-no-ifce", "No inter-feature contexts.", "chelsea", (60, 120, 64, 64),
           settings=_settings("mop", 1e-3, ifce_resolution=None)),
    Encode("trained-half-nearest", "Latents from 1/2, repeated samples.", "coffee",
           (120, 250, 64, 80),
           settings=_settings("lop", 2e-3, latent_resolution=(1, 6),
                              final_upsampling_type="nearest")),
    Encode("trained-quarter-bilinear", "Latents from 1/4, bilinear.", "coffee", (120, 250, 63, 81),
           settings=_settings("lop", 2e-3, latent_resolution=(2, 6),
                              final_upsampling_type="bilinear")),
    Encode("trained-half-bicubic", "Latents from 1/2, bicubic.", "astronaut", (20, 180, 65, 79),
           settings=_settings("hop", 2e-3, latent_resolution=(1, 6))),
    Encode("trained-common-randomness", "Tuned for texture, with common randomness.", "chelsea",
           (60, 120, 64, 64), settings=_settings("lop", 5e-3, tune="wasserstein")),
    Encode("trained-metadata", "A trailer with texts.", "coffee", (120, 250, 48, 48),
           settings=_settings("lop", 2e-3, metadata=True), metadata=TEXT),
    Encode("trained-no-trailer", "No trailer.", "astronaut", (20, 180, 48, 48),
           settings=_settings("lop", 2e-3, trailer=False)),
)  # fmt: skip


def crop(name: str, y: int, x: int, height: int, width: int) -> RGB:
    """Part of one of scikit-image's pictures."""
    samples: RGB = getattr(skimage.data, name)()
    return samples[y : y + height, x : x + width]


def picture(wanted: Encode) -> Picture:
    """Crop in the wanted form; deeper samples are scaled."""
    return in_form(crop(wanted.picture, *wanted.area) / 255.0, *wanted.form, wanted.metadata)


def path_of(wanted: Encode) -> Path:
    """Where the stream lies."""
    return FOLDER / "vectors" / "trained" / f"{wanted.name}.cool"


def describe() -> Suite:
    """Suite of all trained streams, the project's examples included."""
    vectors = [_vector(path_of(e), e.picture, e.description, Level.CORE) for e in ENCODES]
    vectors += [
        _vector(
            EXAMPLES / f"{name}.cool", name, "A larger picture, as people make them.", Level.FULL
        )
        for name in SOURCES
    ]
    return Suite("trained", "Pictures encoded by our trainer.", tuple(vectors))


def _vector(path: Path, source: str, description: str, level: Level) -> Vector:
    origin, licence = SOURCES[source]
    return describe_valid(
        path,
        path.read_bytes(),
        level=level,
        description=description,
        source=origin,
        licence=licence,
    )


def main() -> None:
    """Train what is missing, or everything, and write the suite."""
    if "--describe" not in sys.argv:
        for wanted in ENCODES:
            result = encode(picture(wanted), TrainConfig(**wanted.settings))
            path_of(wanted).parent.mkdir(parents=True, exist_ok=True)
            write_file(path_of(wanted), result.stream)
            print(f"{wanted.name}: {len(result.stream)} bytes, {result.psnr_db:.2f} dB", flush=True)
    save_suite(describe(), FOLDER / "suites" / "trained.json")


if __name__ == "__main__":
    main()
