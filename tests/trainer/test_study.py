# SPDX-License-Identifier: BSD-3-Clause
"""Studies: what is measured, kept, refused and left out."""

from __future__ import annotations

import csv
import dataclasses
import json
import re
import shlex
import shutil
import signal as signals
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from scipy import signal

import numchic
from children import ends
from numchic.command.cli import main
from numchic.picture import Picture
from numchic_bitstream import NumchicError, UsageError
from numchic_bitstream.arrays import F64
from numchic_trainer import TrainConfig
from numchic_trainer.pictures import read_picture
from numchic_trainer.source import to_picture
from numchic_trainer.study import (
    Codec,
    Coded,
    Point,
    StudyConfig,
    StudyEvent,
    parse_anchors,
    read_points,
    run_study,
    session,
)
from numchic_trainer.study import measure as measuring
from numchic_trainer.study import run as running
from numchic_trainer.study.equal import at_equal_size
from numchic_trainer.study.images import KINDS, ImageCodec, available
from numchic_trainer.study.measure import Measured, structural_similarity, unheeded
from numchic_trainer.study.point import write_points
from numchic_trainer.study.programs import ProgramCodec
from numchic_trainer.study.records import Records
from numchic_trainer.study.sources import find_sources
from pictures import picture, yuv_picture

COMMON = TrainConfig(iterations=1, init="zero")
QUICK = StudyConfig(lmbda=(1e-2, 1e-3), preset=("lop",), common=COMMON)
ONE = dataclasses.replace(QUICK, lmbda=(1e-2,))
JPEG = parse_anchors(["jpeg:30,70"], [])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "pictures"
    made.mkdir()
    for name, size in (("a.png", (16, 24)), ("b.png", (17, 9))):
        Image.fromarray(picture(*size)).save(made / name)
    return made


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure alone."""
    monkeypatch.setattr(running, "write_output", lambda out, *_: [out / "index.html"])


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "results.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def read_picture_of(samples: Any) -> Picture:
    return to_picture(samples.astype(np.uint8))


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["study", *map(str, arguments)])


# --- settings and anchors


def test_curves_are_named_by_what_is_not_usual() -> None:
    config = StudyConfig(
        preset=("lop", "hop"), effort=("fast", "slow"), common=TrainConfig(tune="ssim", threads=2)
    )
    names = [name for name, _ in config.curves()]
    assert names == [
        "numchic lop fast, tune ssim",
        "numchic lop slow, tune ssim",
        "numchic hop fast, tune ssim",
        "numchic hop slow, tune ssim",
    ]
    assert [name for name, _ in QUICK.curves()] == ["numchic lop 1 iterations, init zero"]
    assert not any(settings.trailer for _, settings in config.curves())


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("lmbda", {"lmbda": (1e-3, 1e-3)}),
        ("lmbda", {"lmbda": ()}),
        ("lmbda", {"lmbda": (0.0,)}),
        ("preset", {"preset": ("huge",)}),
        ("effort", {"effort": "fast"}),
        ("effort", {"effort": ("fast", "slow"), "common": COMMON}),
        ("lmbda", {"common": TrainConfig(lmbda=2e-3)}),
        ("target_bpp", {"common": TrainConfig(target_bpp=1.0)}),
    ],
)
def test_settings_that_are_refused(name: str, settings: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as caught:
        StudyConfig(**settings)
    assert caught.value.field == name


ENDS = "{output} {decoded}"
ENC, DEC = "enc {input} {output} {q}", f"dec {ENDS}"


@pytest.mark.parametrize(
    ("anchors", "qualities", "what"),
    [
        (["jpg"], [], "unknown codec"),
        (["jpeg:a"], [], "no qualities"),
        (["jpeg:101"], [], "no qualities"),
        (["jpeg:\u0665"], [], "no qualities"),
        (["jpeg:"], [], "no qualities"),
        (["jpeg", "jpeg:30"], [], "two codecs"),
        ([f"numchic={ENC}; {DEC}"], [("1",)], "two codecs"),
        (["jpeg"], [("1",)], "anchors with commands"),
        ([f"x={ENC}; {DEC}"] * 3, [("1",), ("2",)], "too many or too few"),
        ([f"x={ENC}; {DEC}"], [], "--q"),
        ([f"x={ENC}; {DEC}"], [()], "--q"),
        ([f"={ENC}; {DEC}"], [("1",)], "a name is needed"),
        ([f"x={ENC}"], [("1",)], "two commands"),
        ([f"x={ENC}; {DEC}; {DEC}"], [("1",)], "two commands"),
        ([f"x=; {DEC}"], [("1",)], "missing places in the encoder: {input} {output} {q}"),
        ([f"x=enc {{input}} {{output}}; {DEC}"], [("1",)], "missing places in the encoder: {q}"),
        ([f"x={ENC} {{speed}}; {DEC}"], [("1",)], "unknown places in the encoder: {speed}"),
        ([f"x={ENC}; dec {{output}}"], [("1",)], "missing places in the decoder: {decoded}"),
        ([f"x={ENC}; {DEC} {{q}}"], [("1",)], "unknown places in the decoder: {q}"),
        ([f"x=enc {{input.bmpp}} {{output}} {{q}}; {DEC}"], [("1",)], "kind of picture"),
        ([f'x={ENC} "; {DEC}'], [("1",)], "not a command"),
    ],
)
def test_anchors_that_are_refused(
    anchors: list[str], qualities: list[tuple[str, ...]], what: str
) -> None:
    with pytest.raises(UsageError, match=re.escape(what)):
        parse_anchors(anchors, qualities)


def test_a_quality_has_one_name() -> None:
    assert parse_anchors(["jpeg:050, 50,5"], [])[0].settings == ("50", "5")


def test_qualities_of_commands_one_after_the_other() -> None:
    texts = [f"x={ENC}; {DEC}", "jpeg:5", f"y={ENC}; {DEC}"]
    assert [codec.settings for codec in parse_anchors(texts, [("1", "2"), ("3",)])] == [
        ("1", "2"),
        ("5",),
        ("3",),
    ]
    assert [codec.settings for codec in parse_anchors(texts, [("7",)])] == [("7",), ("5",), ("7",)]


def test_names_are_no_codecs(folder: Path, tmp_path: Path) -> None:
    names: Any = ["jpeg"]
    with pytest.raises(UsageError, match="parse_anchors"):
        run_study(folder, tmp_path / "out", QUICK, anchors=names)
    assert not (tmp_path / "out").exists()


def test_a_command_is_told_as_it_was_given() -> None:
    text = "x=enc 'my file' {input} {output} {q}; dec {output} {decoded}"
    codec = parse_anchors([text], [("1", "2")])[0]
    told = codec.identity("1, 2")
    again = parse_anchors([told.removesuffix(" with q 1, 2")], [("1", "2")])[0]
    assert told != codec.identity("1")
    assert again == codec


def test_iterations_are_told_in_place_of_an_effort(folder: Path, tmp_path: Path) -> None:
    run_study(folder, tmp_path / "out", QUICK, anchors=[])
    told = (tmp_path / "out" / "summary.md").read_text().partition("- numchic: ")[2].splitlines()[0]
    assert "iterations 1" in told
    assert "effort" not in told


def test_repeated_values_are_told_from_others(folder: Path, tmp_path: Path) -> None:
    done = run(folder, "--out", tmp_path / "out", "--lmbda", "1e-3,1e-3")
    assert done.exit_code == 2
    assert "all different" in done.output


@pytest.mark.parametrize("name", KINDS)
def test_image_codecs(name: str) -> None:
    if not available(name):
        pytest.skip(f"Pillow has no {KINDS[name].format} here")
    source = read_picture_of(picture(40, 48))
    codec = KINDS[name]
    sizes = []
    for quality in ("30", "90"):
        coded = codec.encode(source, quality, None, lambda _: None)
        decoded, seconds = codec.decode(coded.stream, unheeded)
        assert decoded.planes[0].shape == (40, 48)
        assert seconds is not None
        sizes.append(len(coded.stream))
    assert sizes[0] < sizes[1]
    for other in (
        yuv_picture(16, 16, "yuv420"),
        dataclasses.replace(yuv_picture(16, 16, "yuv420"), bitdepth=10),
    ):
        with pytest.raises(UsageError, match="8 bits"):
            codec.encode(other, "50", None, lambda _: None)


# --- codecs by command line


def program(tmp_path: Path, encode: str, decode: str = "Image.open(a).save(b)") -> Codec:
    """Codec of two scripts in Python."""
    commands = []
    for name, body in (("enc", encode), ("dec", decode)):
        script = tmp_path / f"{name} script.py"
        script.write_text(
            "import sys\nfrom PIL import Image\nname, a, b, *q = sys.argv\n" + body + "\n"
        )
        commands.append(f"{shlex.quote(sys.executable)} {shlex.quote(str(script))}")
    encoder = f"{commands[0]} {{input.ppm}} {{output.jpg}} {{q}}"
    text = f"mine={encoder}; {commands[1]} {{output}} {{decoded}}"
    return parse_anchors([text], [("40", "80")])[0]


SAVE = "Image.open(a).save(b, quality=int(q[0]), optimize=True, progressive=True, subsampling=2)"


@pytest.mark.usefixtures("undrawn")
def test_commands_measure_what_pillow_does(folder: Path, tmp_path: Path) -> None:
    codec = program(tmp_path, SAVE)
    result = run_study(
        folder, tmp_path / "out", QUICK, anchors=[codec, *parse_anchors(["jpeg:40,80"], [])]
    )
    by_curve = {
        name: [(p.picture, p.setting, p.bytes, p.psnr_db) for p in result.points if p.curve == name]
        for name in ("mine", "jpeg")
    }
    assert by_curve["mine"] == by_curve["jpeg"]
    timing = {point.curve: point.timing for point in result.points}
    assert (timing["mine"], timing["jpeg"]) == ("process", "call")


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    ("encode", "decode", "what"),
    [
        ("sys.exit('no licence')", "", "failed with status 1: no licence"),
        ("pass", "", "encoder wrote no file"),
        ("open(b, 'w')", "", "encoder wrote no file"),
        (SAVE, "pass", "decoder wrote no file"),
        (SAVE, "open(b, 'w').write('x')", "not a picture"),
        (SAVE, "Image.new('RGB', (3, 3)).save(b)", "another form"),
        (SAVE, "Image.open(a).convert('1').save(b); sys.exit(3)", "status 3"),
    ],
)
def test_a_program_that_fails_costs_its_points(
    folder: Path, tmp_path: Path, encode: str, decode: str, what: str
) -> None:
    events: list[StudyEvent] = []
    codec = program(tmp_path, encode, decode)
    result = run_study(
        folder, tmp_path / "out", QUICK, anchors=[codec, *JPEG], progress=events.append
    )
    assert result.n_failed == 4
    remarks = [remark for remark in result.remarks if "mine" in remark]
    assert all(what in remark and " more: " in remark for remark in remarks)
    assert remarks
    assert {point.codec for point in result.points} == {"numchic", "jpeg"}
    assert sum(event.error is not None for event in events) == 4
    assert events[-1].n_done == events[-1].n_points == 12


@pytest.mark.usefixtures("undrawn")
def test_a_program_that_is_not_there(folder: Path, tmp_path: Path) -> None:
    done = run(
        folder, "--out", tmp_path / "out", "--iterations", 1, "--lmbda", "1e-3", "--preset", "lop",
        "--anchor", f"x=no-such-program-{ENC}; {DEC}", "--q", "1,2", "--jobs", 1,
    )  # fmt: skip
    assert done.exit_code == 1, done.output
    assert "x has no point for a.png at 1 and 3 more: the program cannot be run" in done.stderr
    assert {row["codec"] for row in rows(tmp_path / "out")} == {"numchic"}


def test_semicolons_in_quotes_are_part_of_a_word() -> None:
    (codec,) = parse_anchors([f"x=enc 'a;b' {{input}} {{output}} {{q}};dec {ENDS}"], [("1",)])
    assert isinstance(codec, ProgramCodec)
    assert codec.encoder == ("enc", "a;b", "{input}", "{output}", "{q}")
    assert codec.decoder == ("dec", "{output}", "{decoded}")


LEAVES_A_CHILD = """
import subprocess
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
open(sys.argv[0] + ".child", "w").write(str(child.pid))
"""


def child_of(script: str, tmp_path: Path) -> int:
    return int((tmp_path / f"{script} script.py.child").read_text())


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells what is running")
def test_what_a_program_leaves_behind_is_ended(tmp_path: Path) -> None:
    codec = program(tmp_path, LEAVES_A_CHILD + SAVE)
    codec.encode(read_picture_of(picture(16, 16)), "40", None, unheeded)
    assert ends(child_of("enc", tmp_path))


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells what is running")
@pytest.mark.parametrize("script", ["enc", "dec"])
def test_a_program_that_is_not_wanted_any_more(
    tmp_path: Path, script: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    hangs = f"{LEAVES_A_CHILD}\nchild.wait()"
    codec = program(tmp_path, hangs if script == "enc" else SAVE, hangs)

    def heed(*_: object) -> None:
        if (tmp_path / f"{script} script.py.child").exists():
            raise KeyboardInterrupt

    task = measuring.Task("a", read_picture_of(picture(16, 16)), codec, "40", "key", None)
    with pytest.raises(KeyboardInterrupt):
        measuring.measure(task, heed)
    assert ends(child_of(script, tmp_path))
    assert not list((tmp_path / "scratch").iterdir())


# --- tables of others


TABLE = "picture,bpp,psnr_db\na.png,1.5,30\na.png,0.5,25\nz.png,1,30\n"
SIZES = {"a.png": (24, 16)}


def table(tmp_path: Path, text: str, name: str = "theirs.csv") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


def test_a_table_with_the_least_columns(tmp_path: Path) -> None:
    points, others = read_points(table(tmp_path, TABLE), SIZES)
    assert others == ["z.png"]
    assert [(p.curve, p.setting, p.bpp, p.bytes, p.psnr_db) for p in points] == [
        ("theirs", "1", 0.5, 24, 25.0),
        ("theirs", "2", 1.5, 72, 30.0),
    ]


def test_a_table_of_a_study_is_read_back(tmp_path: Path) -> None:
    point = Point(
        "a.png", 24, 16, "x, fast", "x", "0.001", 48, 1.0, 30.25, "lop", "fast",
        30.0, 31.0, 29.5, 0.95, 1.25, 0.5, "call", 500.0,
    )  # fmt: skip
    bare = dataclasses.replace(point, curve="y", ms_ssim=None, preset=None, timing=None)
    for path in (tmp_path / "a.csv", tmp_path / "a.tsv"):
        write_points(path, [point, bare])
        if path.suffix == ".tsv":
            lines = path.read_text().replace("x, fast", "x; fast").replace('"', "")
            path.write_text("# remark\n" + lines.replace(",", "\t").replace(";", ","))
        assert read_points(path, SIZES) == ([point, bare], [])


def test_names_with_signs_of_tables(tmp_path: Path) -> None:
    names = ["#1.png", 'a,"b".png', "a\u2028b\x0cc.png", "a\nb\r.png", "\udce9.png"]
    points = [Point(name, 24, 16, "x", "x", "1", 48, 1.0, 30.0) for name in sorted(names)]
    write_points(tmp_path / "a.csv", points)
    assert read_points(tmp_path / "a.csv", dict.fromkeys(names, (24, 16))) == (points, [])


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "columns are missing: bpp or bytes, picture, psnr_db"),
        ("picture,bpp\na.png,1\n", "columns are missing: psnr_db"),
        ("picture,psnr_db\na.png,1\n", "columns are missing: bpp or bytes"),
        ("image,bpp,psnr_db\na.png,1,30\n", "columns are missing: picture"),
        ("picture,bpp,psnr_db\na.png,1\n", "more or fewer values"),
        ("picture,bpp,psnr_db\na.png,1,30,7\n", "more or fewer values"),
        ("picture,bpp,psnr_db\na.png,one,30\n", "line 2, bpp"),
        ("picture,bpp,psnr_db\na.png,1,30\na.png,nan,30\n", "line 3, bpp"),
        ("picture,bpp,psnr_db\na.png,0,30\n", "line 2, bpp"),
        ("picture,bytes,psnr_db\na.png,-5,30\n", "line 2, bytes"),
        ("picture,bpp,psnr_db\na.png,1,inf\n", "line 2, psnr_db"),
        ("picture,bpp,psnr_db\na.png,,30\n", "rate or quality is missing"),
        ("picture,bpp,psnr_db\na.png,1,\n", "rate or quality is missing"),
        ("picture,bpp,psnr_db,ms_ssim\na.png,1,30,3\n", "line 2, ms_ssim"),
        ("picture,bpp,psnr_db,setting\na.png,1,30,x\na.png,2,30,x\n", "comes twice"),
        ('picture,bpp,psnr_db\n"a.png,1,30\n', "not a table"),
    ],
)
def test_tables_that_are_refused(tmp_path: Path, text: str, what: str) -> None:
    with pytest.raises(UsageError, match=what):
        read_points(table(tmp_path, text), SIZES)


@pytest.mark.usefixtures("undrawn")
def test_curves_of_others_are_shown_beside(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = run_study(folder, out, QUICK, anchors=JPEG, tables=[table(tmp_path, TABLE)])
    assert [row["curve"] for row in rows(out)].count("theirs") == 2
    assert "theirs.csv: no such pictures here: z.png." in result.remarks
    with pytest.raises(UsageError, match="two curves have one name"):
        run_study(folder, out, QUICK, anchors=JPEG, tables=[out / "results.csv"])


# --- what is measured, and kept


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of what is measured."""
    names: list[str] = []

    def watched(task: measuring.Task, heed: Any = lambda *_: None) -> Measured:
        names.append(f"{task.name} {task.codec.name} {task.setting}")
        return measuring.measure(task, heed)

    monkeypatch.setattr(session, "measure", watched)
    return names


@pytest.mark.usefixtures("undrawn")
def test_a_study_goes_on_where_it_was(folder: Path, tmp_path: Path, measured: list[str]) -> None:
    out = tmp_path / "out"

    def stop(event: StudyEvent) -> None:
        if event.n_done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_study(folder, out, QUICK, anchors=JPEG, progress=stop, crops=())
    assert len(measured) == 3
    whole = run_study(folder, out, QUICK, anchors=JPEG, crops=())
    assert len(measured) == len(set(measured)) == len(whole.points) == 8
    measured.clear()
    assert run_study(folder, out, QUICK, anchors=JPEG, crops=()).points == whole.points
    assert not measured
    # More settings, and a picture that is another one now.
    more = dataclasses.replace(QUICK, lmbda=(1e-2, 1e-3, 1e-4))
    Image.fromarray(picture(12, 12)).save(folder / "b.png")
    run_study(folder, out, more, anchors=JPEG, crops=())
    assert measured == [
        "a.png numchic 0.0001",
        "b.png numchic 0.01",
        "b.png numchic 0.001",
        "b.png numchic 0.0001",
        "b.png jpeg 30",
        "b.png jpeg 70",
    ]


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("damage", ["stream", "cut", "other", "gone"])
def test_what_was_damaged_is_measured_again(
    folder: Path, tmp_path: Path, measured: list[str], damage: str
) -> None:
    out = tmp_path / "out"
    (folder / "b.png").unlink()
    first = run_study(folder, out, QUICK, anchors=JPEG, crops=())
    measured.clear()
    record = next(
        path
        for path in (out / "points").glob("*.json")
        if json.loads(path.read_text())["point"]["setting"] == "30"
    )
    stream = out / json.loads(record.read_text())["stream"]
    if damage == "stream":
        stream.write_bytes(b"x" + stream.read_bytes()[1:])
    elif damage == "cut":
        record.write_text(record.read_text()[:50])
    elif damage == "other":
        record.write_text('{"point": {"a": 1}, "stream": "../../x", "sha256": ""}')
    else:
        stream.unlink()
    again = run_study(folder, out, QUICK, anchors=JPEG, crops=())
    assert measured == ["a.png jpeg 30"]
    assert without_times(again.points) == without_times(first.points)


@pytest.mark.usefixtures("undrawn")
def test_streams_of_long_names_are_told_apart(
    folder: Path, tmp_path: Path, measured: list[str]
) -> None:
    codec = dataclasses.replace(program(tmp_path, SAVE), name="日本" + "long " * 40 + "\udce9")  # type: ignore[type-var]
    run_study(folder, tmp_path / "out", QUICK, anchors=[codec], crops=())
    assert len(measured) == 8
    measured.clear()
    run_study(folder, tmp_path / "out", QUICK, anchors=[codec], crops=())
    assert not measured


@pytest.mark.usefixtures("undrawn")
def test_the_same_picture_twice_counts_once(folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "a.png", folder / "z.png")
    result = run_study(folder, tmp_path / "out", QUICK, anchors=JPEG, crops=())
    assert [point.picture for point in result.points] == ["a.png"] * 4 + ["b.png"] * 4
    assert "z.png is left out: it is the same as a.png." in result.remarks


@pytest.mark.usefixtures("undrawn")
def test_the_name_of_a_planar_file_is_part_of_the_picture(tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    wide, high = pictures / "park_16x24_420_8b.yuv", pictures / "park_24x16_420_8b.yuv"
    out = tmp_path / "out"
    wide.write_bytes(bytes(range(192)) * 3)
    (one,) = run_study(pictures, out, ONE, anchors=[]).points
    wide.rename(high)
    (other,) = run_study(pictures, out, ONE, anchors=[]).points
    assert (one.width, one.height) == (other.height, other.width) == (16, 24)


@dataclasses.dataclass(frozen=True)
class Interrupted(ImageCodec):
    """A codec during which the user interrupts, and which does not heed it."""

    def encode(self, *arguments: Any) -> Coded:
        coded = super().encode(*arguments)
        signals.raise_signal(signals.SIGINT)
        return coded


@pytest.mark.usefixtures("undrawn")
def test_an_interrupt_waits_for_the_point(
    folder: Path, tmp_path: Path, measured: list[str]
) -> None:
    codec = Interrupted(*(getattr(JPEG[0], f.name) for f in dataclasses.fields(ImageCodec)))
    before = signals.getsignal(signals.SIGINT)
    for k in range(1, 5):
        with pytest.raises(KeyboardInterrupt):
            run_study(folder, tmp_path / "out", ONE, anchors=[codec], crops=())
        assert sum("jpeg" in name for name in measured) == k
    run_study(folder, tmp_path / "out", ONE, anchors=[codec], crops=())
    assert len(measured) == len(set(measured)) == 6
    assert signals.getsignal(signals.SIGINT) is before


@pytest.mark.usefixtures("undrawn")
def test_pictures_that_cannot_be_shown_any_more(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    codec = program(tmp_path, SAVE)
    monkeypatch.setattr(session, "at_equal_size", lambda _, found: [(codec, found(codec, "40"))])
    assert not run_study(folder, tmp_path / "out", ONE, anchors=[codec]).remarks[2:]
    (tmp_path / "dec script.py").unlink()

    def lose(_: object) -> None:
        (folder / "a.png").unlink(missing_ok=True)

    result = run_study(folder, tmp_path / "out", ONE, anchors=[codec])
    assert any("a.png is not shown as mine gives it" in remark for remark in result.remarks)
    result = run_study(folder, tmp_path / "out", ONE, anchors=[codec], progress=lose)
    assert any("a.png is not shown: " in remark for remark in result.remarks)
    assert len(result.points) == 6


def test_the_page_says_what_measured(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts: list[dict[str, str]] = []

    def keep(*given: Any) -> list[Path]:
        facts.append(given[4])
        return []

    monkeypatch.setattr(running, "write_output", keep)
    codec = dataclasses.replace(program(tmp_path, SAVE), name="jpeg")  # type: ignore[type-var]
    for machine in ("one", "other"):
        monkeypatch.setattr(measuring, "_this_machine", lambda machine=machine: machine)
        run_study(folder, tmp_path / "out", ONE, anchors=[codec], crops=())
        (folder / "b.png").unlink(missing_ok=True)
        Image.fromarray(picture(20, 20)).save(folder / "c.png")
    assert [found["measured on"] for found in facts] == ["one", "one; other"]
    assert "enc script.py" in facts[0]["jpeg"]


@pytest.mark.usefixtures("undrawn")
def test_a_reference_that_has_no_points(folder: Path, tmp_path: Path) -> None:
    anchors = [*JPEG, Broken()]
    result = run_study(folder, tmp_path / "out", ONE, anchors=anchors, reference="broken")
    assert "Comparisons are not with broken, which has no points." in result.remarks


def test_every_curve_has_a_name_of_its_own(folder: Path, tmp_path: Path) -> None:
    ours = "numchic lop 1 iterations, init zero"
    for anchors in ([*JPEG, *JPEG], [dataclasses.replace(program(tmp_path, SAVE), name=ours)]):  # type: ignore[type-var]
        with pytest.raises(UsageError, match="two codecs have one name"):
            run_study(folder, tmp_path / "out", ONE, anchors=anchors)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["index.html", "results.csv", "summary.md"])
def test_files_of_others_are_not_replaced(folder: Path, name: str) -> None:
    (folder / name).write_text("mine")
    with pytest.raises(UsageError, match="is not of a study"):
        run_study(folder, folder, ONE, anchors=JPEG)
    assert (folder / name).read_text() == "mine"
    assert not (folder / "points").exists()


def test_remarks_do_not_depend_on_who_is_first(folder: Path, tmp_path: Path) -> None:
    found = find_sources(folder)
    study = session.Session(found.sources, [Broken(settings=("1", "2"))], Records(tmp_path / "out"))

    def backwards(work: Any, tasks: Any, _: int) -> Any:
        yield from ((task, UsageError("never")) for task in reversed(list(tasks)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "run_in_processes", backwards)
        study.run(2, None, None)
    assert study.remarks() == ["broken has no point for a.png at 1 and 3 more: never."]


def test_names_of_pictures_do_not_write_on_the_terminal(folder: Path, tmp_path: Path) -> None:
    (folder / "a.png").rename(folder / "a\x1b]0;\n.png")
    done = run(folder, "--out", tmp_path / "out", "--anchor", "jpeg:5", "--crops", "none",
               "--lmbda", "1e-2", "--iterations", 1, "--init", "zero", "--jobs", 1)  # fmt: skip
    assert "\x1b" not in done.stderr
    assert all(line.startswith(("numchic: ", "4 points: ")) or " of 4: " in line
               for line in done.stderr.splitlines())  # fmt: skip


def without_times(points: list[Point]) -> list[Point]:
    return [dataclasses.replace(p, encode_cpu_s=None, decode_cpu_s=None) for p in points]


def test_processes_measure_the_same(folder: Path, tmp_path: Path) -> None:
    one = run_study(folder, tmp_path / "one", QUICK, anchors=JPEG)
    two = run_study(folder, tmp_path / "two", QUICK, anchors=JPEG, jobs=2)
    assert without_times(one.points) == without_times(two.points)
    assert [p.name for p in one.files] == [p.name for p in two.files]
    point = one.points[0]
    (stream,) = (tmp_path / "one/streams/a.png").glob("numchic-lop*-0.01-*.cool")
    assert point.bytes == stream.stat().st_size
    decoded, source = numchic.decode(stream), read_picture(folder / "a.png")
    errors = [
        np.mean((p.astype(float) - q) ** 2)
        for p, q in zip(decoded.planes, source.planes, strict=True)
    ]
    assert point.psnr_db == pytest.approx(10 * np.log10(255**2 / np.mean(errors)))
    assert point.psnr_1_db == pytest.approx(10 * np.log10(255**2 / errors[1]))
    assert point.bpp == 8 * point.bytes / (16 * 24)
    assert point.macs_per_pixel == numchic.read_info(stream).macs_per_pixel


def test_damaged_pictures_are_named_and_left_out(folder: Path, tmp_path: Path) -> None:
    (folder / "bad.png").write_bytes(b"no picture")
    (folder / "notes.txt").write_text("mine")
    out = tmp_path / "out"
    done = run(
        folder, "--out", out, "--iterations", 1, "--init", "zero", "--lmbda", "1e-3",
        "--preset", "lop", "--anchor", "jpeg:50", "--jobs", 1,
    )  # fmt: skip
    assert done.exit_code == 1
    assert "bad.png is left out: not a picture" in done.stderr
    assert "Not looked at in pictures: 1 .txt." in done.stderr
    assert "a.png has no MS-SSIM" in done.stderr
    assert "4 of 4: b.png, jpeg, 50" in done.stderr
    assert len(rows(out)) == 4
    assert all(row["ms_ssim"] == "" for row in rows(out))
    page = (out / "index.html").read_text()
    assert "bad.png is left out" in page


@pytest.mark.parametrize(
    ("arguments", "status", "what"),
    [
        (["--lmbda", "1e-3,x"], 2, "--lmbda"),
        (["--preset", "huge"], 2, "--preset"),
        (["--anchor", "jpg"], 2, "unknown codec"),
        (["--crops", "c.png"], 2, "none of this name"),
        (["--reference", "avif"], 2, "none of this name"),
        (["--table", "missing.csv"], 5, "missing.csv"),
        (["--scheduler", "nonsense"], 2, "scheduler"),
    ],
)
def test_mistakes_cost_nothing(
    folder: Path, tmp_path: Path, arguments: list[str], status: int, what: str
) -> None:
    pytest.importorskip("distributed")
    before = sorted(folder.rglob("*"))
    done = run(folder, "--out", tmp_path / "out", "--anchor", "jpeg-444", *arguments)
    assert done.exit_code == status, done.output
    assert what in done.stderr
    assert not (tmp_path / "out/results.csv").exists()
    assert sorted(folder.rglob("*")) == before


def test_folders_that_are_none(folder: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    done = run(empty, "--out", tmp_path / "out")
    assert (done.exit_code, "no pictures" in done.stderr) == (2, True)
    assert run(tmp_path / "nowhere", "--out", tmp_path / "out").exit_code == 5
    (tmp_path / "file").write_text("mine")
    done = run(folder, "--out", tmp_path / "file/out", "--anchor", "none")
    assert done.exit_code == 5, done.output
    assert (tmp_path / "file").read_text() == "mine"
    with pytest.raises(UsageError, match="jobs"):
        run_study(folder, tmp_path / "out", QUICK, jobs=0)
    with pytest.raises(UsageError, match="one name"):
        run_study([folder / "a.png", folder / "a.png"], tmp_path / "out", QUICK)
    (empty / "bad.png").write_bytes(b"x")
    with pytest.raises(UsageError, match=r"no picture to study: bad\.png"):
        run_study(empty, tmp_path / "out", QUICK)


@dataclasses.dataclass
class Broken:
    """A codec that never works."""

    name: str = "broken"
    curve: str = "broken"
    settings: tuple[str, ...] = ("1",)
    suffix: str = ".bin"
    timing: str = "call"

    def identity(self, setting: str) -> str:
        return setting

    def encode(self, *_: Any) -> Coded:
        raise ValueError("never")

    def decode(self, *_: Any) -> Any:
        raise AssertionError


@dataclasses.dataclass
class Silent(Broken):
    """A codec that writes nothing."""

    def encode(self, *_: Any) -> Coded:
        return Coded(b"", None)


def test_an_empty_stream_is_no_point() -> None:
    task = measuring.Task("a", read_picture_of(picture(16, 16)), Silent(), "1", "key", None)
    with pytest.raises(UsageError, match="the stream is empty"):
        measuring.measure(task)


def test_nothing_that_could_be_measured(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "_ours", lambda *_: [])
    with pytest.raises(NumchicError, match=r"for a\.png at 1 and 1 more: ValueError: never"):
        run_study(folder, tmp_path / "out", QUICK, anchors=[Broken()])
    assert not (tmp_path / "out/results.csv").exists()


# --- quality, and equal sizes


def ms_ssim_by_hand(x: F64, y: F64) -> float:
    """Five scales of windows that lie inside the plane (Wang, Simoncelli, Bovik, 2003)."""
    taps = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    window = np.outer(taps, taps) / taps.sum() ** 2

    def mean(z: F64) -> F64:
        inside: F64 = signal.fftconvolve(z, window, mode="valid")
        return inside

    product = 1.0
    exponents = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
    for scale, exponent in enumerate(exponents):
        if scale:
            x, y = (z.reshape(len(z) // 2, 2, -1, 2).mean((1, 3)) for z in (x, y))
        mx, my = mean(x), mean(y)
        sx, sy, sxy = mean(x * x) - mx**2, mean(y * y) - my**2, mean(x * y) - mx * my
        found = (2 * sxy + 0.03**2) / (sx + sy + 0.03**2)
        if scale == len(exponents) - 1:
            found = found * (2 * mx * my + 0.01**2) / (mx**2 + my**2 + 0.01**2)
        product *= float(found.mean()) ** exponent
    return product


def test_ms_ssim_by_hand() -> None:
    one = read_picture_of(picture(176, 192))
    noise = np.random.default_rng(0).integers(-30, 31, (3, 176, 192))
    planes = [
        np.clip(p + n, 0, 255).astype(np.uint8) for p, n in zip(one.planes, noise, strict=True)
    ]
    other = Picture((planes[0], planes[1], planes[2]), "rgb", 8)
    by_plane = [
        ms_ssim_by_hand(p / 255, q / 255) for p, q in zip(one.planes, other.planes, strict=True)
    ]
    assert structural_similarity(one, other) == pytest.approx(np.mean(by_plane), abs=1e-5)
    assert min(by_plane) < 0.99
    grey = dataclasses.replace(one, data_type="yuv444")
    assert structural_similarity(grey, other) == pytest.approx(by_plane[0], abs=1e-5)
    assert structural_similarity(one, one) == 1.0


def test_the_smallest_picture_with_ms_ssim() -> None:
    for side, defined in ((160, False), (161, True)):
        source = read_picture_of(picture(side, 200))
        assert (structural_similarity(source, source) is not None) == defined


@dataclasses.dataclass
class Sized(Broken):
    """A codec whose settings are the sizes of its streams."""

    settings: tuple[str, ...] = ("100", "130", "200")


def test_streams_of_equal_size() -> None:
    jpeg = dataclasses.replace(KINDS["jpeg"], settings=("10", "90"))
    codecs: list[Any] = [Sized(), Sized(settings=("90", "150")), Sized(settings=("300",)), jpeg]

    def measured(codec: Any, setting: str) -> Measured:
        size = 3 * int(setting) if codec is jpeg else int(setting)
        return Measured(None, bytes(size), "")  # type: ignore[arg-type]

    found = at_equal_size(codecs, measured)
    assert [(codec is jpeg, len(m.stream)) for codec, m in found] == [
        (False, 130), (False, 150), (True, 129),
    ]  # fmt: skip
    assert at_equal_size(codecs, lambda *_: None) == []
