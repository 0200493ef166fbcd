# SPDX-License-Identifier: BSD-3-Clause
"""Fluster loads what is exported for it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import numchic
from conformance_tools import tiny_suite
from numchic.command.cli import main
from numchic_conformance import PictureFormat, load_suites, save_suite
from numchic_conformance.fluster import CODEC, pixel_format

# Of fluster-conformance 0.8.0, where this is an enumeration.
OUTPUT_FORMATS = {
    "None", "Unknown", "fltp", "gray", "gray10le", "gray12le", "gray16le",
    "yuv420p", "yuv420p10le", "yuv420p12le", "yuv422p", "yuv422p10le", "yuv422p12le",
    "yuv444p", "yuv444p10le", "yuv444p12le", "yuv444p14le", "yuv444p16le",
    "gbrp", "gbrp10le", "gbrp12le", "gbrp14le",
}  # fmt: skip


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("suite")
    save_suite(tiny_suite(folder), folder / "tiny.json")
    output = folder / "fluster.json"
    address = "https://example.org/vectors"
    words = ["conformance", "export-fluster", str(output), str(folder / "tiny.json")]
    result = CliRunner().invoke(main, [*words, "--base-url", address, "--name", "x"])
    assert result.exit_code == 0, result.output
    assert result.output == "4 vectors written, 2 left out\n"
    return output


def test_the_document(exported: Path) -> None:
    document = json.loads(exported.read_text())
    assert (document["name"], document["codec"]) == ("x", "None")
    # Not what must be refused.
    vectors = {entry["name"]: entry for entry in document["test_vectors"]}
    assert list(vectors) == ["good", "other", "trailing", "video"]
    stream = exported.with_name("good.cool")
    picture = numchic.decode(stream)
    red, green, blue = picture.planes
    planes = b"".join(plane.tobytes() for plane in (green, blue, red))
    assert vectors["good"] == {
        "name": "good",
        "source": f"https://example.org/vectors/{exported.parent.name}/good.cool",
        "source_checksum": hashlib.md5(stream.read_bytes()).hexdigest(),
        "input_file": "good.cool",
        "output_format": "gbrp",
        "result": hashlib.md5(planes).hexdigest(),
    }
    frames = b"".join(p.to_bytes() for p in numchic.decode_frames(exported.with_name("video.cool")))
    assert vectors["video"]["output_format"] == "yuv420p"
    assert vectors["video"]["result"] == hashlib.md5(frames).hexdigest()


def test_fluster_loads_it(exported: Path) -> None:
    tool: Any = pytest.importorskip("fluster.test_suite", reason="fluster-conformance is missing")
    suite = tool.TestSuite.from_json_file(str(exported), str(exported.parent))
    assert (suite.name, suite.codec.value) == ("x", CODEC)
    assert list(suite.test_vectors) == ["good", "other", "trailing", "video"]
    assert suite.test_vectors["good"].output_format.value == "gbrp"
    again = exported.with_name("again.json")
    suite.to_json_file(str(again))
    written, read = (json.loads(path.read_text()) for path in (exported, again))
    assert read == {**written, "test_method": "md5"}


def test_the_copy_of_its_formats_is_true() -> None:
    codec: Any = pytest.importorskip("fluster.codec", reason="fluster-conformance is missing")
    assert {item.value for item in codec.OutputFormat} >= OUTPUT_FORMATS
    assert CODEC in {item.value for item in codec.Codec}


def test_only_formats_that_it_has() -> None:
    pictures = [v.picture for suite in load_suites() for v in suite.vectors if v.picture]
    formats = {pixel_format(picture) for picture in pictures} - {None}
    assert {"gbrp", "gbrp12le", "yuv420p", "yuv420p10le", "yuv444p16le"} <= formats
    assert formats <= OUTPUT_FORMATS
    for picture in (
        PictureFormat(4, 4, 1, "rgb", 16),
        PictureFormat(4, 4, 1, "rgb", 9),
        PictureFormat(4, 4, 1, "yuv420", 16),
        PictureFormat(5, 4, 1, "yuv420", 8),
        PictureFormat(4, 5, 1, "yuv420", 8),
    ):
        assert pixel_format(picture) is None
