# SPDX-License-Identifier: BSD-3-Clause
"""What other decoders do, and what is made of it."""

from __future__ import annotations

import dataclasses
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import numchic
from children import ends
from conformance_tools import PICTURE, script, tiny_suite
from numchic import UsageError
from numchic.files.images import encode_image
from numchic_conformance import CommandDecoder, Expect, Outcome, Vector
from numchic_conformance.samples import read_samples
from numchic_conformance.stages import decode_stages


@pytest.fixture(scope="module")
def vectors(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Vector]:
    suite = tiny_suite(tmp_path_factory.mktemp("suite"))
    return {vector.id: vector for vector in suite.vectors}


@pytest.fixture(scope="module")
def right(vectors: dict[str, Vector], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """File with the right samples of the vector "good"."""
    path = tmp_path_factory.mktemp("right") / "right.ppm"
    path.write_bytes(encode_image(numchic.decode(vectors["good"].path), "ppm"))
    return path


def test_right_output(vectors: dict[str, Vector], right: Path, tmp_path: Path) -> None:
    decoder = CommandDecoder(
        script(tmp_path, f"output.write_bytes(Path({str(right)!r}).read_bytes())")
    )
    result = decoder(vectors["good"])
    assert result.outcome is Outcome.PASS
    assert result.seconds > 0
    assert result.memory_bytes is None or result.memory_bytes > 1_000_000


def test_wrong_samples(vectors: dict[str, Vector], right: Path, tmp_path: Path) -> None:
    body = f"data = bytearray(Path({str(right)!r}).read_bytes())\ndata[-1] ^= 255\n"
    decoder = CommandDecoder(script(tmp_path, body + "output.write_bytes(data)"))
    result = decoder(vectors["good"])
    assert result.outcome is Outcome.FAIL
    assert result.divergence is not None
    assert result.divergence.position == "plane B, row 4, column 5"


@pytest.mark.parametrize(
    ("body", "outcome", "message"),
    [
        ("sys.exit('will not')", Outcome.FAIL, "exit status 1: will not"),
        ("sys.exit(3)", Outcome.NOT_SUPPORTED, ""),
        ("os.kill(os.getpid(), signal.SIGSEGV)", Outcome.CRASH, "exit status -11"),
        ("sys.exit(139)", Outcome.CRASH, "exit status 139"),
        ("pass", Outcome.FAIL, "wrote no output"),
        ("output.write_text('P6 1 1 255 x')", Outcome.FAIL, "unexpected header"),
        ("output.write_text('something')", Outcome.FAIL, "not a PPM file"),
        ("(stages / 'dense.npy').write_text('x')", Outcome.FAIL, "not an array"),
    ],
)
def test_failures(
    vectors: dict[str, Vector], tmp_path: Path, body: str, outcome: Outcome, message: str
) -> None:
    result = CommandDecoder(script(tmp_path, body))(vectors["good"])
    assert result.outcome is outcome
    assert message in result.message


def test_timeout(vectors: dict[str, Vector], tmp_path: Path) -> None:
    decoder = CommandDecoder(script(tmp_path, "time.sleep(60)"), timeout=0.5)
    assert decoder(vectors["good"]).outcome is Outcome.TIMEOUT


def test_refusals(vectors: dict[str, Vector], tmp_path: Path) -> None:
    refusing = CommandDecoder(script(tmp_path, "sys.exit(1)"))
    assert refusing(vectors["cut"]).outcome is Outcome.PASS
    unsure = CommandDecoder(script(tmp_path, "sys.exit(3)"))
    assert unsure(vectors["text"]).outcome is Outcome.PASS
    accepting = CommandDecoder(script(tmp_path, "output.write_text('x')"))
    assert accepting(vectors["cut"]).outcome is Outcome.FAIL


def test_the_first_wrong_stage_is_named(
    vectors: dict[str, Vector], right: Path, tmp_path: Path
) -> None:
    stages = tmp_path / "stages"
    stages.mkdir()
    for name, array in decode_stages(vectors["good"].read()):
        changed = array.copy()
        if name in {"latents.1", "latents.0", "dense"}:
            changed.ravel()[0] += 1
        np.save(stages / f"{name}.npy", changed)
    body = (
        f"import shutil\nshutil.copytree({str(stages)!r}, stages, dirs_exist_ok=True)\n"
        f"output.write_bytes(Path({str(right)!r}).read_bytes())"
    )
    result = CommandDecoder(script(tmp_path, body))(vectors["good"])
    assert result.outcome is Outcome.FAIL
    assert result.divergence is not None
    assert result.divergence.stage == "latents.1"  # decoded before latents.0


def test_a_refusing_decoder_shows_where_it_went_wrong(
    vectors: dict[str, Vector], tmp_path: Path
) -> None:
    (stages := tmp_path / "stages").mkdir()
    for name, array in decode_stages(vectors["good"].read()):
        if name == "dense":
            break
        np.save(stages / f"{name}.npy", array + (name == "latents.0"))
    body = (
        f"import shutil\nshutil.copytree({str(stages)!r}, stages, dirs_exist_ok=True)\n"
        "print('too short')\nsys.exit(1)"
    )
    result = CommandDecoder(script(tmp_path, body))(vectors["good"])
    assert result.outcome is Outcome.FAIL
    assert result.message == "exit status 1: too short"
    assert result.divergence is not None
    assert result.divergence.stage == "latents.0"


def test_a_stage_with_an_unknown_name_proves_nothing(
    vectors: dict[str, Vector], tmp_path: Path
) -> None:
    body = "output.write_text('x')\n(stages / 'latents0.npy').write_text('x')"
    digests = {name: d for name, d in vectors["good"].digests.items() if name != "samples"}
    vector = dataclasses.replace(vectors["good"], digests=digests)
    result = CommandDecoder(script(tmp_path, body))(vector)
    assert result.outcome is Outcome.NOT_RUN


def test_a_missing_file_is_not_run(vectors: dict[str, Vector], tmp_path: Path) -> None:
    vector = dataclasses.replace(vectors["cut"], path=tmp_path / "none.cool")
    result = CommandDecoder(script(tmp_path, "sys.exit(1)"))(vector)
    assert result.outcome is Outcome.NOT_RUN


def test_what_a_decoder_leaves_behind_is_ended(vectors: dict[str, Vector], tmp_path: Path) -> None:
    note = tmp_path / "note"
    body = (
        "import subprocess\n"
        f"child = subprocess.Popen(['sleep', '60'])\n"
        f"Path({str(note)!r}).write_text(str(child.pid))\nsys.exit(1)"
    )
    CommandDecoder(script(tmp_path, body))(vectors["cut"])
    assert ends(int(note.read_text()))


def test_a_run_can_be_stopped(vectors: dict[str, Vector], tmp_path: Path) -> None:
    started = tmp_path / "started"
    body = f"Path({str(started)!r}).touch()\ntime.sleep(60)"
    decoder = CommandDecoder(script(tmp_path, body))

    def stop() -> None:
        while not started.exists():
            time.sleep(0.01)
        decoder.stop()

    thread = threading.Thread(target=stop)
    thread.start()
    assert decoder(vectors["good"]).outcome is Outcome.CRASH
    thread.join()


@pytest.mark.parametrize(
    ("command", "timeout", "message"),
    [
        ("decode {input}", 1.0, "where to put it"),
        ("", 1.0, "where to put it"),
        ("decode '{input} {output}", 1.0, "not a command line"),
        ("decode {input} {output}", float("nan"), "not a time"),
        ("decode {input} {output}", 1e10, "not a time"),
    ],
)
def test_impossible_commands(command: str, timeout: float, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        CommandDecoder(command, timeout)


def test_a_command_that_is_not_there(vectors: dict[str, Vector]) -> None:
    with pytest.raises(UsageError, match="cannot start"):
        CommandDecoder("./no-such-decoder {input} {output}")(vectors["good"])


def test_a_changed_file_is_not_run(vectors: dict[str, Vector], tmp_path: Path) -> None:
    path = tmp_path / "x.cool"
    path.write_bytes(b"x")
    vector = Vector(id="x", path=path, sha256="00", expect=Expect.DECODE, picture=PICTURE)
    result = CommandDecoder(script(tmp_path, "output.write_text('x')"))(vector)
    assert result.outcome is Outcome.NOT_RUN


def test_ppm_files_may_have_comments(tmp_path: Path) -> None:
    path = tmp_path / "a.ppm"
    path.write_bytes(b"P6\n# by hand\n6 5\n# and this\n255\n" + bytes(90))
    assert read_samples(path, PICTURE).size == 90


def test_read_samples_of_yuv(tmp_path: Path) -> None:
    path = tmp_path / "a.yuv"
    path.write_bytes(bytes(12))
    with pytest.raises(UsageError, match="unexpected bytes"):
        read_samples(path, PICTURE)
