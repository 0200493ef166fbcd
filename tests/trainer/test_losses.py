# SPDX-License-Identifier: BSD-3-Clause
"""What an encode makes small: any function, weights, similarity."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from torch import Tensor

import numchic
from numchic import Picture, UsageError
from numchic.command.cli import main
from numchic_trainer import EncodeResult, Event, TrainConfig, encode
from numchic_trainer.report import write_report
from numchic_trainer.source import to_picture
from numchic_trainer.training.distortion import Distortion, Planes, SquaredError, UserFunction
from numchic_trainer.training.ssim import ms_ssim, ssim
from numchic_trainer.training.target import Target, planes_of
from numchic_trainer.training.wasserstein import Wasserstein
from numchic_trainer.weights import pixel_weights
from pictures import picture, yuv_picture

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "encoding.md"
QUICK = TrainConfig(preset="lop", iterations=24, init="zero", rdoq=False)
SIZE = (24, 40)
RAMP = np.linspace(0.0, 3.0, SIZE[0] * SIZE[1]).reshape(SIZE)


def absolute(decoded: Planes, original: Planes) -> Tensor:
    """Mean absolute error, scaled to be about as large as a squared one."""
    pairs = zip(decoded, original, strict=True)
    return 0.02 * torch.stack([(ours - theirs).abs().mean() for ours, theirs in pairs]).mean()


CHOICES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "mse": ({}, {}),
    "weighted mse": ({}, {"weights": RAMP}),
    "ssim": ({"tune": "ssim"}, {}),
    "ms-ssim": ({"tune": "ms-ssim"}, {}),
    "wasserstein": ({"tune": "wasserstein"}, {}),
    "user function": ({}, {"distortion": absolute}),
}


def encoded(measure: str, config: TrainConfig = QUICK, **more: Any) -> EncodeResult:
    settings, arguments = CHOICES[measure]
    return encode(picture(*SIZE), dataclasses.replace(config, **settings), **arguments, **more)


def distortion_of(measure: str) -> Distortion:
    measures: dict[str, Distortion] = {
        "mse": SquaredError(),
        "weighted mse": SquaredError(torch.from_numpy(RAMP / RAMP.mean())),
        "ssim": ssim(),
        "ms-ssim": ms_ssim(),
        "wasserstein": Wasserstein(),
        "user function": absolute,
    }
    return measures[measure]


@pytest.mark.parametrize("measure", CHOICES)
def test_every_measure_is_what_its_rows_and_result_say(measure: str, tmp_path: Path) -> None:
    result = encoded(measure)
    source, decoded = to_picture(picture(*SIZE)), numchic.decode(result.stream)
    precision = torch.float32 if measure == "wasserstein" else torch.float64
    planes = (planes_of(samples, dtype=precision) for samples in (decoded, source))
    assert result.measure == measure
    assert result.distortion == pytest.approx(float(distortion_of(measure)(*planes)), rel=1e-5)
    assert result.mse == pytest.approx(
        np.mean(((decoded.to_rgb() - picture(*SIZE).astype(float)) / 255) ** 2)
    )
    last = result.log[-1]
    assert (last["loss"], last["distortion"]) == (result.loss, result.distortion)
    assert {row["measure"] for row in result.log if row["phase"] != "warm-up"} == {measure}
    before = "weighted mse" if measure == "weighted mse" else "mse"
    assert {row["measure"] for row in result.log if row["phase"] == "warm-up"} == {before}
    for row in result.log:
        found = {key: float(row[key]) for key in ("loss", "distortion", "mse", "bpp", "lmbda")}
        assert found["loss"] == pytest.approx(found["distortion"] + found["lmbda"] * found["bpp"])
        if row["measure"] == "mse":
            assert found["distortion"] == pytest.approx(found["mse"])
    write_report(tmp_path, source, result.stream, result.log)
    assert f"<td>{measure}: " in (tmp_path / "index.html").read_text()


@pytest.mark.parametrize("measure", CHOICES)
def test_every_measure_resumes(measure: str, tmp_path: Path) -> None:
    path = tmp_path / "x.training"

    def stop(event: Event) -> None:
        if event.iteration == 15:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        encoded(measure, progress=stop, checkpoint=path)
    other = "ssim" if measure == "mse" else "mse"
    with pytest.raises(UsageError, match="another picture or other settings"):
        encoded(other, checkpoint=path)
    assert encoded(measure, checkpoint=path).stream == encoded(measure).stream


def test_a_checkpoint_knows_weights_and_functions(tmp_path: Path) -> None:
    path = tmp_path / "x.training"
    config = dataclasses.replace(QUICK, iterations=1)
    for given, other in (
        ({"weights": RAMP}, {"weights": RAMP[::-1]}),
        ({"distortion": absolute}, {"distortion": ssim()}),
    ):
        path.unlink(missing_ok=True)
        encode(picture(*SIZE), config, checkpoint=path, **given)
        with pytest.raises(UsageError, match="another picture or other settings"):
            encode(picture(*SIZE), config, checkpoint=path, **other)


@pytest.mark.parametrize("measure", ["weighted mse", "ssim", "user function"])
def test_targets(measure: str) -> None:
    settings, arguments = CHOICES[measure]
    if "weights" in arguments:
        arguments = {"weights": np.linspace(0, 1, 120 * 128).reshape(120, 128)}
    config = TrainConfig(preset="lop", iterations=100, target_bpp=1.5, rdoq=False, **settings)
    # A rate of few bytes would jump by more than the tolerance.
    result = encode(picture(120, 128), config, **arguments)
    assert result.goal_met
    assert result.bits_per_pixel == pytest.approx(1.5, rel=0.02)
    assert result.measure == measure


@pytest.mark.parametrize("data_type", ["yuv420", "yuv444"])
@pytest.mark.parametrize("measure", ["weighted mse", "ssim", "ms-ssim", "user function"])
def test_yuv(measure: str, data_type: Any) -> None:
    settings, arguments = CHOICES[measure]
    source = yuv_picture(*SIZE, data_type, 10)
    result = encode(source, dataclasses.replace(QUICK, **settings), **arguments)
    planes = (planes_of(p, dtype=torch.float64) for p in (numchic.decode(result.stream), source))
    assert result.distortion == pytest.approx(float(distortion_of(measure)(*planes)), rel=1e-5)


# --- Weights -----------------------------------------------------------------------------------


def rgb(height: int, width: int) -> Picture:
    return to_picture(picture(height, width))


def test_weights_of_a_sphere() -> None:
    found = pixel_weights("sphere", rgb(9, 18))
    latitudes = (np.arange(9) - 4) * np.pi / 9
    expected = np.cos(latitudes) / np.cos(latitudes).mean()
    np.testing.assert_allclose(found, np.repeat(expected[:, None], 18, axis=1), rtol=1e-6)


@pytest.mark.parametrize(
    "weights",
    [
        np.eye(4, 6, dtype=bool),
        np.arange(24, dtype=np.uint16).reshape(4, 6),
        np.full((4, 6), 1e300),
        np.full((4, 6), 5e-324),
        [[0, 0, 0, 0, 0, 2]] * 4,
        torch.ones(4, 6),
    ],
    ids=["bool", "uint16", "large", "small", "list", "tensor"],
)
def test_only_ratios_of_weights_matter(weights: Any) -> None:
    found = pixel_weights(weights, rgb(4, 6))
    assert found.dtype == np.float32
    assert found.mean() == pytest.approx(1.0)
    given = np.asarray(weights, dtype=np.float64)
    np.testing.assert_allclose(found, given / given.max() * found.max(), rtol=1e-6)


@pytest.mark.parametrize("bits", [8, 16])
def test_weights_of_a_file(bits: int, tmp_path: Path) -> None:
    path = tmp_path / "map.png"
    values = (np.arange(24).reshape(4, 6) * (1 << (bits - 5))).astype(f"uint{bits}")
    Image.fromarray(values).save(path)
    np.testing.assert_array_equal(
        pixel_weights(str(path), rgb(4, 6)), pixel_weights(values, rgb(4, 6))
    )


@pytest.mark.parametrize(
    ("weights", "reason"),
    [
        (np.ones((6, 4)), "another size"),
        (np.ones(24), "not weights"),
        (np.ones((4, 6, 1)), "not weights"),
        (np.ones((4, 6), complex), "not weights"),
        ([[1, 2], [3]], "not weights"),
        ({"a": 1}, "not weights"),
        (np.zeros((4, 6)), "all weights are zero"),
        (np.full((4, 6), -1), "not a weight"),
        (np.full((4, 6), np.nan), "not a weight"),
        (np.full((4, 6), np.inf), "not a weight"),
    ],
)
def test_what_are_not_weights_is_refused(weights: Any, reason: str) -> None:
    with pytest.raises(UsageError, match=reason) as caught:
        encode(picture(4, 6), QUICK, weights=weights)
    assert caught.value.field == "weights"
    assert len(str(caught.value)) < 300


def test_files_that_are_no_weights_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "map.png"
    config = dataclasses.replace(QUICK, weights=str(path))
    with pytest.raises(FileNotFoundError):
        encode(picture(4, 6), config)
    for samples in (picture(4, 6), np.zeros((4, 6), np.uint8), np.ones((8, 6), np.uint8)):
        Image.fromarray(samples).save(path)
        with pytest.raises(UsageError) as caught:
            encode(picture(4, 6), config)
        assert caught.value.field == "weights"
    path.write_text("no picture")
    with pytest.raises(UsageError, match=r"map\.png"):
        encode(picture(4, 6), config)


def test_only_one_loss_is_possible() -> None:
    with pytest.raises(UsageError, match="weights are those of squared error"):
        TrainConfig(tune="ssim", weights="sphere")
    ssim_config = dataclasses.replace(QUICK, tune="ssim")
    sphere_config = dataclasses.replace(QUICK, weights="sphere")
    for config, arguments in (
        (ssim_config, {"weights": RAMP}),
        (sphere_config, {"weights": RAMP}),
        (ssim_config, {"distortion": absolute}),
        (QUICK, {"distortion": absolute, "weights": RAMP}),
    ):
        with pytest.raises(UsageError, match="only one of these"):
            encode(picture(*SIZE), config, **arguments)


def test_weighted_pixels_are_better() -> None:
    """What has no weight may become anything."""
    weights = np.zeros((32, 64))
    weights[:, :32] = 1.0
    config = TrainConfig(preset="lop", iterations=80, rdoq=False)
    result = encode(picture(32, 64), config, weights=weights)
    error = (numchic.decode(result.stream).to_rgb() - picture(32, 64).astype(float)) ** 2
    assert 4 * error[:, :32].mean() < error[:, 32:].mean()
    assert result.distortion == pytest.approx(error[:, :32].mean() / 255**2)


def test_the_identity_of_settings_is_that_of_the_file(tmp_path: Path) -> None:
    path, other = tmp_path / "map.png", tmp_path / "other.png"
    Image.fromarray(np.ones((4, 6), np.uint8)).save(path)
    other.write_bytes(path.read_bytes())
    identity = TrainConfig(weights=str(path)).identity()
    assert identity == TrainConfig(weights=str(other)).identity()
    Image.fromarray(np.eye(4, 6, dtype=np.uint8)).save(path)
    assert identity != TrainConfig(weights=str(path)).identity()
    assert TrainConfig(weights="sphere").identity() != TrainConfig().identity()


# --- Targets -----------------------------------------------------------------------------------


@pytest.mark.parametrize("data_type", ["rgb", "yuv420"])
def test_windows_have_the_distortion_of_the_picture_on_average(data_type: Any) -> None:
    source = rgb(16, 24) if data_type == "rgb" else yuv_picture(16, 24, "yuv420")
    torch.manual_seed(0)
    raw = torch.rand(1, 3, 16, 24)
    weights = torch.rand(16, 24)
    target = dataclasses.replace(Target.of_picture(source, 1e-3), measure=SquaredError(weights))
    parts = []
    for rows in (slice(0, 6), slice(6, 16)):
        for columns in (slice(0, 10), slice(10, 24)):
            window = target.window(rows, columns)
            found = window.distortion(raw[..., rows, columns], rounded=True)
            parts.append(found * window.n_pixels / target.n_pixels)
    torch.testing.assert_close(sum(parts), target.distortion(raw, rounded=True))


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 1), (7, 9)])
def test_odd_windows_of_420(size: tuple[int, int]) -> None:
    """The end of a picture may be odd."""
    source = yuv_picture(9, 11, "yuv420")
    for measure in (SquaredError(torch.rand(9, 11)), ssim(), ms_ssim(), UserFunction(ssim())):
        target = dataclasses.replace(Target.of_picture(source, 1e-3), measure=measure)
        window = target.window(slice(9 - size[0], 9), slice(11 - size[1], 11))
        assert [plane.shape for plane in window.planes[1:]] == [(size[0] // 2, size[1] // 2)] * 2
        raw = torch.rand(1, 3, *size, requires_grad=True)
        (gradient,) = torch.autograd.grad(window.distortion(raw, rounded=False), raw)
        assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("measure", [ssim(), ms_ssim(), Wasserstein()], ids=lambda m: m.name)
def test_another_original_is_noticed(measure: Any) -> None:
    first, second = planes_of(rgb(24, 30)), planes_of(rgb(30, 24))
    assert float(measure(first, first)) == pytest.approx(0.0, abs=1e-6)
    assert float(measure(second, second)) == pytest.approx(0.0, abs=1e-6)
    window = measure.window(slice(0, 8), slice(0, 8))
    assert (window.name, window.precision) == (measure.name, measure.precision)
    y, u, v = (plane[:8, :8] for plane in first)
    assert float(window((y, u, v), (y, u, v))) == pytest.approx(0.0, abs=1e-6)


# --- Functions of users ------------------------------------------------------------------------


def errors(decoded: Planes, original: Planes) -> Tensor:
    return (decoded[0] - original[0]) ** 2


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda *_: 0.5, "no tensor"),
        (lambda *_: None, "no tensor"),
        (errors, "no scalar"),
        (lambda *planes: errors(*planes).mean()[None], "no scalar"),
        (lambda *_: torch.tensor(1), "no scalar"),
        (lambda *planes: errors(*planes).mean() / 0, "no number"),
        (lambda *planes: planes[1][0].mean(), "no gradient"),
        (lambda *planes: planes[0][0].detach().mean(), "no gradient"),
        (lambda *planes: planes[0][0].round().mean(), "gradient is zero"),
        (lambda *planes: errors(*planes).sqrt().mean(), "not finite"),
    ],
    ids=[
        "number", "nothing", "map", "one element", "integer", "NaN", "ignored", "detached",
        "steps", "root",
    ],
)  # fmt: skip
def test_what_is_no_distortion_is_refused_at_once(function: Any, reason: str) -> None:
    events: list[Event] = []
    with pytest.raises(UsageError, match=reason) as caught:
        encode(picture(8, 8), QUICK, distortion=function, progress=events.append)
    assert caught.value.field == "distortion"
    assert not events


def test_exceptions_of_a_function_pass_through() -> None:
    def broken(decoded: Planes, original: Planes) -> Tensor:
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        encode(picture(8, 8), QUICK, distortion=broken)


def test_the_documented_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(picture(*SIZE)).save("photo.png")
    (example,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.S)
    names: dict[str, Any] = {}
    exec(example, names)
    assert names["result"].measure == "user function"


# --- The command -------------------------------------------------------------------------------


def test_command(tmp_path: Path) -> None:
    Image.fromarray(picture(*SIZE)).save(tmp_path / "photo.png")
    Image.fromarray((80 * RAMP).astype(np.uint8)).save(tmp_path / "map.png")
    for name, options in {
        "weighted mse": ["--weights", str(tmp_path / "map.png")],
        "ssim": ["--tune", "ssim"],
    }.items():
        result = CliRunner().invoke(
            main,
            [
                "encode", str(tmp_path / "photo.png"), str(tmp_path / "out.cool"), *options,
                "--iterations", "10", "--effort", "fast", "--log", str(tmp_path / "log.jsonl"),
                "--report", str(tmp_path / name),
            ],
        )  # fmt: skip
        assert result.exit_code == 0, result.output
        assert f"dB, {name} " in result.stderr
        rows = [json.loads(row) for row in (tmp_path / "log.jsonl").read_text().splitlines()]
        assert rows[-1]["measure"] == name
        assert (tmp_path / name / "weights.png").exists() == (name == "weighted mse")


def test_a_sphere_has_a_shape(tmp_path: Path) -> None:
    Image.fromarray(picture(8, 15)).save(tmp_path / "photo.png")
    arguments = ["--weights", "sphere", "--iterations", "0", "--init", "shared"]
    result = CliRunner().invoke(
        main, ["encode", str(tmp_path / "photo.png"), str(tmp_path / "out.cool"), *arguments]
    )
    assert result.exit_code == 0, result.output
    assert "a whole sphere is twice as wide" in result.stderr
