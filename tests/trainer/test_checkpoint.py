# SPDX-License-Identifier: BSD-3-Clause
"""Encodes that are interrupted go on to the same result."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

import numchic
from numchic_trainer import Event, TrainConfig, encode
from pictures import picture

CONFIG = TrainConfig(preset="lop", iterations=60, seed=3, init="zero")


class Stop(Exception):  # noqa: N818
    pass


def interrupt(path: Path, config: TrainConfig, after: int, phase: str = "") -> None:
    def stop(event: Event) -> None:
        if event.iteration >= after and phase in event.phase:
            raise Stop

    with pytest.raises(Stop):
        encode(picture(24, 33), config, progress=stop, checkpoint=path)


def without_times(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k != "cpu_seconds"} for row in rows]


def test_resumed_again_and_again_gives_the_same_stream_and_log(tmp_path: Path) -> None:
    expected = encode(picture(24, 33), CONFIG)
    path = tmp_path / "x.training"
    for after in (1, 2, 5, 9, 12, 30, 59):  # in every phase, before and after evaluations
        interrupt(path, CONFIG, after)
    interrupt(path, CONFIG, 60, "quantise")
    interrupt(path, CONFIG, 60, "rdoq")
    result = encode(picture(24, 33), CONFIG, checkpoint=path)
    assert result.stream == expected.stream
    assert without_times(result.log) == without_times(expected.log)
    times = [float(row["cpu_seconds"]) for row in result.log]
    assert times == sorted(times)


def test_the_search_for_a_target_goes_on_too(tmp_path: Path) -> None:
    config = TrainConfig(preset="lop", iterations=60, target_psnr=35.0, init="zero")
    expected = encode(picture(24, 33), config)
    path = tmp_path / "x.training"
    interrupt(path, config, 61)
    interrupt(path, config, 65)
    assert encode(picture(24, 33), config, checkpoint=path).stream == expected.stream


def test_another_number_of_threads_goes_on_with_it(tmp_path: Path) -> None:
    path = tmp_path / "x.training"
    interrupt(path, dataclasses.replace(CONFIG, threads=1), 5)
    result = encode(picture(24, 33), dataclasses.replace(CONFIG, threads=3), checkpoint=path)
    assert result.stream == encode(picture(24, 33), CONFIG).stream


def test_checkpoints_are_written_on_the_way(tmp_path: Path) -> None:
    path = tmp_path / "x.training"
    seen = []

    def look(event: Event) -> None:
        seen.append(path.exists())

    encode(picture(8, 8), CONFIG, progress=look, checkpoint=path, checkpoint_seconds=0.0)
    assert seen[0] is False
    assert all(seen[1:])


def test_a_checkpoint_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.training"
    interrupt(path, CONFIG, 5)
    with pytest.raises(numchic.UsageError, match="another picture or other settings"):
        encode(picture(33, 24), CONFIG, checkpoint=path)
    with pytest.raises(numchic.UsageError, match="another picture or other settings"):
        encode(picture(24, 33), TrainConfig(preset="lop", iterations=61), checkpoint=path)


def test_damaged_checkpoints_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.training"
    interrupt(path, CONFIG, 5)
    whole = path.read_bytes()
    flipped = [
        whole[:i] + bytes([whole[i] ^ 1]) + whole[i + 1 :]
        for i in (0, 30, len(whole) // 4, len(whole) // 2, len(whole) - 1)
    ]
    at = whole.index(b'{"identity"')
    text = whole[:at] + b"[}" + whole[at + 2 :]
    for damaged in (b"", b"x" * 100, whole[:50], whole[:-10], whole + b"x", text, *flipped):
        path.write_bytes(damaged)
        with pytest.raises(numchic.UsageError, match=r"x\.training"):
            encode(picture(24, 33), CONFIG, checkpoint=str(path))


def test_a_checkpoint_needs_a_folder(tmp_path: Path) -> None:
    events: list[Event] = []
    with pytest.raises(FileNotFoundError, match="nowhere"):
        encode(picture(8, 8), CONFIG, progress=events.append, checkpoint=tmp_path / "nowhere" / "x")
    assert not events
