# SPDX-License-Identifier: BSD-3-Clause
"""The benchmark command runs; what it measures is not asserted."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

import builders
from numchic.benchmark import main


def test_every_stage_is_listed(tmp_path: Path) -> None:
    path = tmp_path / "picture.cool"
    path.write_bytes(builders.stream(flag_common_randomness=1))
    result = CliRunner().invoke(main, [str(path), "--runs", "1", "--threads", "1"])
    assert result.exit_code == 0, result.output
    stages = {line.split()[0] for line in result.output.splitlines()}
    assert {"parameters", "latents", "upsampling", "noise", "synthesis", "samples"} <= stages


def test_a_frame_of_every_type_is_timed(tmp_path: Path) -> None:
    path = tmp_path / "video.cool"
    path.write_bytes(builders.video())
    result = CliRunner().invoke(main, [str(path), "--runs", "1", "--threads", "2"])
    assert result.exit_code == 0, result.output
    assert "I frame: synthesis" in result.output
    assert "B frame: prediction" in result.output
    assert "frames/s" in result.output.splitlines()[-1]
