# SPDX-License-Identifier: BSD-3-Clause
"""Frames that are finished, on disk (video-training, section 13).

A folder has one file per frame. Its name tells the identity of the frame, which stands for all that
the bytes of the frame depend on: a frame is never taken for another one. In the file are a mark of
the format, the SHA-256 of the rest, and the rest: identity and report as JSON, with the size before
them, and the frame as the stream has it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from numchic.files.images import write_file
from numchic.picture import Picture
from numchic_bitstream import CoolChic, Frame, NumchicError, UsageError
from numchic_bitstream.v5.headers import (
    read_coolchic_header,
    read_frame_header,
    write_coolchic_header,
    write_frame_header,
)
from numchic_trainer.video.frame import FrameReport

_FORMAT = b"numchic frame 1\n"
_SIZE = struct.Struct("<I")
_DIGEST_SIZE = hashlib.sha256().digest_size
_SUFFIX = ".frame"


class Record(NamedTuple):
    """A finished frame.

    Attributes
    ----------
    frame : Frame
    samples : str
        Digest of what the decoder makes of it.
    report : FrameReport
    """

    frame: Frame
    samples: str
    report: FrameReport


def digest_of(picture: Picture) -> str:
    """SHA-256 of the kind and the samples of a picture, in hexadecimal digits."""
    kind = f"{picture.data_type} {picture.bitdepth} {picture.height} {picture.width} "
    digest = hashlib.sha256(kind.encode())
    for piece in picture.pieces():
        digest.update(piece)
    return digest.hexdigest()


class Records:
    """A folder of finished frames, or nothing at all.

    Parameters
    ----------
    folder : Path or None
        It is made when the first frame is finished.

    Raises
    ------
    UsageError
        There is something else in its place.
    FileNotFoundError
        There is no folder to make it in.
    """

    def __init__(self, folder: Path | None) -> None:
        if folder is not None:
            if folder.exists() and not folder.is_dir():
                raise UsageError("not a folder", "checkpoint", None, str(folder))
            if not folder.absolute().parent.is_dir():
                raise FileNotFoundError(f"no such folder: {folder.parent}")
        self._folder = folder

    def load(self, index: int, identity: str) -> Record | None:
        """Give a frame; None if it is not there, or its file is damaged or that of another one."""
        if self._folder is None:
            return None
        try:
            return _parse(_path(self._folder, index, identity).read_bytes(), identity)
        except FileNotFoundError:
            return None

    def save(self, index: int, identity: str, record: Record) -> None:
        """Keep a frame; the file appears as a whole."""
        if self._folder is None:
            return
        self._folder.mkdir(exist_ok=True)
        write_file(_path(self._folder, index, identity), _contents(record, identity))


def discard(folder: Path) -> None:
    """Remove finished frames, and their folder unless there is something else in it."""
    for path in folder.glob("*" + _SUFFIX):
        path.unlink()
    with suppress(OSError):
        folder.rmdir()


def _path(folder: Path, index: int, identity: str) -> Path:
    return folder / f"{index:04d}-{identity[:32]}{_SUFFIX}"


def _contents(record: Record, identity: str) -> bytes:
    told = {
        "identity": identity,
        "samples": record.samples,
        "report": dataclasses.asdict(record.report),
    }
    report = json.dumps(told).encode()
    rest = _SIZE.pack(len(report)) + report + frame_bytes(record.frame)
    return _FORMAT + hashlib.sha256(rest).digest() + rest


def _parse(contents: bytes, identity: str) -> Record | None:
    start = len(_FORMAT) + _DIGEST_SIZE
    rest = contents[start:]
    if contents[:start] != _FORMAT + hashlib.sha256(rest).digest():
        return None
    try:
        (size,) = _SIZE.unpack_from(rest)
        told = json.loads(rest[_SIZE.size : _SIZE.size + size])
        if told["identity"] != identity:
            return None
        report = {name: _tuple(value) for name, value in told["report"].items()}
        frame = read_frame(rest[_SIZE.size + size :])
        return Record(frame, str(told["samples"]), FrameReport(**report))
    except (NumchicError, struct.error, ValueError, KeyError, TypeError, AttributeError):
        return None


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def frame_bytes(frame: Frame) -> bytes:
    """Frame as the stream has it; sizes in its headers are those of the payloads."""
    parts = [write_frame_header(frame.header)]
    for part in frame.parts:
        parts += [write_coolchic_header(part.header), part.nn_payload, part.latent_payload]
    return b"".join(parts)


def read_frame(data: bytes) -> Frame:
    """Read back what :func:`frame_bytes` has written.

    Raises
    ------
    StreamError
        A header is malformed.
    """
    header = read_frame_header(data, 0).header
    position = header.n_bytes_header
    parts = []
    for _ in range(1 if header.frame_type == "I" else 2):
        coolchic = read_coolchic_header(data, position).header
        payload = position + coolchic.n_bytes_header
        latents = payload + coolchic.nn_n_bytes
        position = latents + coolchic.n_bytes_latent
        parts.append(CoolChic(coolchic, data[payload:latents], data[latents:position]))
    return Frame(header, *parts)
