# SPDX-License-Identifier: BSD-3-Clause
"""JPEG, WebP, AVIF and JPEG XL as anchors, by Pillow and its plugins."""

from __future__ import annotations

import importlib.metadata
import io
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from PIL import Image, features

from numchic.picture import Picture
from numchic_bitstream import UsageError
from numchic_trainer.source import to_picture
from numchic_trainer.study.codec import Coded, Heed, timed_decode


@dataclass(frozen=True)
class ImageCodec:
    """A codec of Pillow for pictures of 8 bits; a quality moves along its curve.

    Attributes
    ----------
    name : str
    format : str
        What Pillow calls it.
    settings : tuple of str
        Qualities.
    options : tuple of (str, object)
        What it is always saved with.
    curve, suffix, timing : str
    """

    name: str
    format: str
    settings: tuple[str, ...]
    options: tuple[tuple[str, Any], ...]
    suffix: str
    timing: str = "call"

    @property
    def curve(self) -> str:
        """The name: all settings are in it."""
        return self.name

    def identity(self, setting: str) -> str:
        """Options, and versions of what encodes."""
        return f"{self.name} {setting} {self.options} {version_of(self.format)}"

    def encode(
        self, picture: Picture, setting: str, _checkpoint: Path | None, _heed: Heed, /
    ) -> Coded:
        """Encode.

        Raises
        ------
        UsageError
            The picture has another depth or chroma, or is too large for the format.
        """
        if picture.data_type != "rgb" or picture.bitdepth != 8:
            found = f"{picture.data_type}, {picture.bitdepth} bits"
            raise UsageError("only for RGB pictures of 8 bits", self.name, None, found)
        image = Image.fromarray(np.stack(picture.planes, axis=-1))
        file = io.BytesIO()
        _load(self.format)
        start = time.process_time()
        try:
            image.save(file, self.format, quality=int(setting), **dict(self.options))
        except (OSError, ValueError, RuntimeError) as error:  # of encoders, in their own ways
            raise UsageError(f"not encoded: {error}", self.name) from error
        return Coded(file.getvalue(), time.process_time() - start)

    def decode(self, stream: bytes, _heed: Heed, /) -> tuple[Picture, float | None]:
        """Decode."""
        _load(self.format)
        return timed_decode(lambda: to_picture(_opened(stream), 8))


def _opened(stream: bytes) -> Image.Image:
    with Image.open(io.BytesIO(stream)) as image:
        return image.convert("RGB")


_JPEG = (("optimize", True), ("progressive", True))
_AVIF = (("speed", 2), ("max_threads", 1))

KINDS = {
    "jpeg": ImageCodec(
        "jpeg", "JPEG", ("10", "20", "35", "55", "75", "88", "95"),
        (*_JPEG, ("subsampling", "4:2:0")), ".jpg",
    ),
    "jpeg-444": ImageCodec(
        "jpeg-444", "JPEG", ("10", "20", "35", "55", "75", "88", "95"),
        (*_JPEG, ("subsampling", "4:4:4")), ".jpg",
    ),
    "webp": ImageCodec(
        "webp", "WEBP", ("5", "20", "40", "60", "80", "92"), (("method", 6),), ".webp"
    ),
    "avif": ImageCodec(
        "avif", "AVIF", ("20", "35", "50", "65", "80", "90"), (*_AVIF, ("subsampling", "4:2:0")),
        ".avif",
    ),
    "avif-444": ImageCodec(
        "avif-444", "AVIF", ("20", "35", "50", "65", "80", "90"),
        (*_AVIF, ("subsampling", "4:4:4")), ".avif",
    ),
    "jxl": ImageCodec(
        "jxl", "JXL", ("20", "40", "60", "75", "88", "94"),
        (("effort", 7), ("num_threads", 1)), ".jxl",
    ),
}  # fmt: skip
"""Anchors by name, with the qualities that are usual for them."""

USUAL = ("jpeg", "webp", "avif", "jxl")


def version_of(kind: str) -> str:
    """Version of what encodes a format."""
    if kind == "JXL":
        return f"pillow-jxl-plugin {importlib.metadata.version('pillow-jxl-plugin')}"
    name = {"JPEG": "libjpeg_turbo", "WEBP": "webp", "AVIF": "avif"}[kind]
    return f"Pillow {PIL.__version__}, {name} {features.version(name)}"


def available(name: str) -> bool:
    """Whether Pillow can encode by an anchor of :data:`KINDS` here."""
    kind = KINDS[name].format
    _load(kind)
    return kind in Image.SAVE and kind in Image.OPEN


def _load(kind: str) -> None:
    Image.init()
    if kind == "JXL":
        with suppress(ModuleNotFoundError):
            importlib.import_module("pillow_jxl")
