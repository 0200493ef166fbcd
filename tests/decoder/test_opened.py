# SPDX-License-Identifier: BSD-3-Clause
"""An opened stream: read once, described and decoded as often as needed."""

from __future__ import annotations

import io
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import builders
import numchic
from numchic_bitstream import Metadata, append_trailer
from numchic_bitstream.generations import read_any
from numchic_conformance.synthetic.v4.draw import Draw
from numchic_conformance.synthetic.v4.streams import make_stream

STILL = builders.stream()
VIDEO = builders.video()
OLDER = make_stream(Draw("opened"), "4.1", (8, 8), frames=((0, "I"), (1, "I")))


def same(a: numchic.Picture, b: numchic.Picture) -> bool:
    return a.to_bytes() == b.to_bytes()


@pytest.mark.parametrize("data", [STILL, VIDEO, OLDER], ids=["still", "video", "4.1"])
def test_everything_of_one_stream(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "stream.cool"
    path.write_bytes(data)
    with numchic.open(path) as stream:
        pictures = list(stream.frames())
        assert len(pictures) == stream.n_frames == stream.info.n_frames
        assert stream.info == numchic.read_info(data)
        assert stream.img_size == (pictures[0].height, pictures[0].width)
        assert (stream.data_type, stream.bitdepth) == (pictures[0].data_type, pictures[0].bitdepth)
        for i, picture in enumerate(pictures):
            assert same(stream.decode(i), picture)
            assert same(numchic.decode(data, frame=i), picture)
        assert "frame" in repr(stream)


def test_a_stream_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def count(*arguments: Any) -> Any:
        calls.append(1)
        return read_any(*arguments)

    monkeypatch.setattr("numchic.opened.read_any", count)
    with numchic.open(io.BytesIO(VIDEO)) as stream:
        assert stream.info is stream.info
        list(stream.frames())
        stream.decode(1)
    assert calls == [1]


def test_a_closed_stream_is_forgotten() -> None:
    """Also by what compares it with its trailer."""
    stream = numchic.open(builders.with_trailer(STILL, Metadata()))
    coded = weakref.ref(stream._coded)
    stream.close()
    assert coded() is None


def test_a_closed_stream() -> None:
    stream = numchic.open(VIDEO)
    frames = stream.frames()
    stream.close()
    stream.close()
    for use in (lambda: stream.info, lambda: stream.decode(0), stream.frames):
        with pytest.raises(numchic.UsageError, match="closed"):
            use()
    assert len(list(frames)) == stream.n_frames  # asked for before


def test_metadata_and_integrity() -> None:
    data = append_trailer(STILL, 0, metadata=Metadata(icc=b"profile"))
    with numchic.open(data) as stream:
        assert stream.metadata is not None
        assert stream.metadata.icc == b"profile"
        with pytest.raises(numchic.IntegrityError):
            stream.decode()
    with numchic.open(data, check_integrity=False) as stream:
        assert stream.decode().metadata == stream.metadata
    with pytest.raises(numchic.IntegrityError):
        numchic.open(data[:-1])


def test_numpys_integers_are_integers() -> None:
    expected = numchic.decode(VIDEO, frame=1, threads=1)
    assert same(numchic.decode(VIDEO, frame=np.int64(1), threads=np.uint8(2)), expected)  # type: ignore[arg-type]
    frames = numchic.decode_frames(VIDEO, frames=slice(np.int64(1), np.int64(2)))
    assert same(next(frames), expected)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"frame": True}, "frame"),
        ({"frame": 1.0}, "frame"),
        ({"frame": "1"}, "frame"),
        ({"frame": -1}, "frame"),
        ({"frame": 3}, "frame"),
        ({"frame": 0, "threads": 0}, "threads"),
        ({"frame": 0, "threads": 1.5}, "threads"),
        ({"frame": 0, "threads": False}, "threads"),
        ({"frame": 0, "limits": {"pixels": 1}}, "limits"),
        ({"frame": 0, "progress": 1}, "progress"),
    ],
)
def test_arguments_are_checked(arguments: dict[str, Any], name: str) -> None:
    with pytest.raises(numchic.UsageError) as caught:
        numchic.decode(VIDEO, **arguments)
    assert caught.value.field == name
