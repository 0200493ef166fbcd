# SPDX-License-Identifier: BSD-3-Clause
"""Pictures of a study: which there are, and which cannot be read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from numchic.command.pool import text_of
from numchic.picture import Picture
from numchic_bitstream import UsageError
from numchic_trainer.command.names import pictures_in
from numchic_trainer.pictures import read_picture
from numchic_trainer.study.measure import MIN_MS_SSIM


@dataclass(frozen=True)
class Source:
    """A picture that can be read.

    Attributes
    ----------
    path : Path
    digest : str
        Of its file, and of what is known from its name alone.
    width, height : int
    """

    path: Path
    digest: str
    width: int
    height: int

    @property
    def name(self) -> str:
        """What tables call it."""
        return self.path.name

    def read(self) -> Picture:
        """Read the picture again: not all of them are kept in memory.

        Raises
        ------
        UsageError
            The file is another one now.
        """
        picture = read_picture(self.path)
        if _digest(self.path, picture) != self.digest:
            raise UsageError("the file is being changed", self.name)
        return picture


@dataclass(frozen=True)
class Found:
    """What there is to study.

    Attributes
    ----------
    sources : list of Source
    unread : list of str
        A sentence for every picture that is left out.
    remarks : list of str
        What else a reader should know.
    """

    sources: list[Source]
    unread: list[str]
    remarks: list[str]


def find_sources(pictures: Path | Iterable[Path]) -> Found:
    """Pictures of a folder, or those that are named.

    Raises
    ------
    UsageError
        There are none, none of them can be read, or two have one name.
    OSError
        The folder cannot be read.
    """
    found = Found([], [], [])
    if isinstance(pictures, Path):
        paths, others = pictures_in(pictures)
        if others:
            found.remarks.append(f"Not looked at in {pictures.name}: {others}.")
    else:
        paths = list(pictures)
    if len({path.name for path in paths}) < len(paths):
        raise UsageError("two pictures have one name", "pictures", None, None, "different names")
    names: dict[str, str] = {}
    for path in paths:
        try:
            picture = read_picture(path)
            source = Source(path, _digest(path, picture), picture.width, picture.height)
        except Exception as error:  # whatever a damaged file makes Pillow raise
            found.unread.append(f"{path.name} is left out: {text_of(error)}.")
            continue
        if (first := names.setdefault(source.digest, source.name)) != source.name:
            found.remarks.append(f"{source.name} is left out: it is the same as {first}.")
            continue
        found.sources.append(source)
        if min(picture.width, picture.height) < MIN_MS_SSIM:
            found.remarks.append(
                f"{path.name} has no MS-SSIM: its smaller side is below {MIN_MS_SSIM} pixels."
            )
    if not found.sources:
        reason = "; ".join(found.unread) or "none were named"
        raise UsageError(f"there is no picture to study: {reason}", "pictures", None, len(paths))
    return found


def _digest(path: Path, picture: Picture) -> str:
    digest = hashlib.sha256(path.read_bytes())
    if path.suffix.lower() == ".yuv":
        digest.update(repr(picture).encode())  # size, chroma and depth
    return digest.hexdigest()
