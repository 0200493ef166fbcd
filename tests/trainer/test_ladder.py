# SPDX-License-Identifier: BSD-3-Clause
"""Ladder, packs and what encodes start from (ladder-stochastic, 13 to 17)."""

from __future__ import annotations

import dataclasses
import io
import json
import signal
import zipfile
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

import numchic
from numchic.command.cli import main
from numchic.picture import Picture
from numchic_bitstream import NumchicError, UsageError
from numchic_trainer import CoolChicEncoder, TrainConfig, encode
from numchic_trainer.architecture import architecture
from numchic_trainer.config import Preset
from numchic_trainer.ladder import mosaic
from numchic_trainer.ladder.config import LadderConfig
from numchic_trainer.ladder.crops import Crops
from numchic_trainer.ladder.decoders import SharedDecoder
from numchic_trainer.ladder.inspect import inspect
from numchic_trainer.ladder.mosaic import Mosaic
from numchic_trainer.ladder.network import N_LEVELS, Ladder, condition, crop
from numchic_trainer.ladder.objective import imitation
from numchic_trainer.ladder.pack import Pack, read_pack, shipped_pack
from numchic_trainer.ladder.training import LadderTraining
from numchic_trainer.start import choose_start, starting_points
from numchic_trainer.training.plan import plan
from numchic_trainer.training.target import Target
from pictures import picture

ASTRONAUT = Path(__file__).resolve().parents[2] / "examples" / "astronaut.cool"


def held_out(size: int = 128) -> NDArray[np.uint8]:
    """Part of a picture that the shipped packs have not seen."""
    samples = numchic.decode(ASTRONAUT).to_rgb()
    return samples[:size, 100 : 100 + size].astype(np.uint8)


def target_of(samples: NDArray[np.uint8], lmbda: float = 1e-3) -> Target:
    planes = torch.from_numpy(samples.copy()).permute(2, 0, 1)[None].float() / 255
    y, u, v = planes[0]
    return Target((y, u, v), lmbda)


def model_of(height: int, width: int, **settings: Any) -> CoolChicEncoder:
    config = TrainConfig(preset="lop", **settings)
    return CoolChicEncoder(architecture(config, "lop", (height, width)))


def start_of(
    samples: NDArray[np.uint8], preset: Preset = "lop", **settings: Any
) -> tuple[CoolChicEncoder, dict[str, Tensor]]:
    """Model whose parameters are those that training starts from."""
    config = TrainConfig(preset=preset, **settings)
    height, width = samples.shape[:2]
    model = CoolChicEncoder(architecture(config, preset, (height, width)))
    start = choose_start(config, preset, model, rgb=True)
    (param,) = starting_points(model, config, start, preset, target_of(samples, config.lmbda))
    model.set_param(param)
    return model, param


@pytest.fixture(autouse=True)
def _small_mosaic(monkeypatch: pytest.MonkeyPatch) -> None:
    """One crop instead of twelve, and no threads that wait for each other."""
    torch.set_num_threads(1)
    monkeypatch.setattr(mosaic, "_ROWS", 1)
    monkeypatch.setattr(mosaic, "_COLUMNS", 1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Some pictures to learn from, and files that are not."""
    images = tmp_path / "images"
    images.mkdir()
    for seed in range(2):
        Image.fromarray(picture(130 + seed, 160)).save(images / f"{seed}.png")
    Image.fromarray(picture(40, 40)).save(images / "small.png")
    (images / "notes.txt").write_text("no picture")
    return images


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


def trained(folder: Path, steps: int, *, n: int | None = None) -> LadderTraining:
    training = LadderTraining(Crops(folder), LadderConfig(presets=("lop",), steps=steps))
    training.prepare()
    for _ in range(steps if n is None else n):
        training.advance()
    return training


# --- the networks


def test_size_of_the_ladder() -> None:
    assert sum(p.numel() for p in Ladder().parameters()) == 387_112


@pytest.mark.parametrize("size", [(1, 1), (65, 130), (128, 128), (3, 200)])
def test_latents_have_the_sizes_of_the_grids(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    ladder = Ladder()
    with torch.no_grad():
        data = ladder(torch.rand(2, 3, *size), 1e-3, sample=True)
    latents = crop([level["z"] for level in data], size)
    model = model_of(*size)
    assert [tuple(z.shape[-2:]) for z in latents] == [(g.height, g.width) for g in model.grids]
    assert all(level["z"].shape[-1] % 2 == 0 for level in data)


def test_means_instead_of_samples() -> None:
    torch.manual_seed(0)
    ladder = Ladder()
    with torch.no_grad():
        first, second = (ladder(torch.rand(1, 3, 9, 9) * 0 + 0.3, 1e-3, sample=False) for _ in "ab")
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a["z"], b["z"])
        assert a["q_params"] is not None
        assert torch.equal(a["z"], a["q_params"][0].get())


@pytest.mark.parametrize("size", [(1, 1), (65, 130), (300, 40), (130, 300)])
def test_strips_are_not_seen(size: tuple[int, int]) -> None:
    ladder = shipped_pack("lop").ladder
    rgb = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        whole = [level["z"] for level in ladder(rgb, 1e-3, sample=False)]
        found = ladder.latents(rgb, 1e-3)
    for a, b in zip(found, whole, strict=True):
        torch.testing.assert_close(a, b)


def test_lambda_is_told() -> None:
    torch.manual_seed(0)
    ladder = Ladder()
    x = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        a, b = (ladder(x, lmbda, sample=False)[0]["z"] for lmbda in (1e-4, 1e-2))
    assert not torch.equal(a, b)
    assert condition(1e-3) == pytest.approx(0.0)


def test_deviation_of_posteriors() -> None:
    ladder = Ladder()
    with torch.no_grad():
        for parameter in ladder.parameters():
            parameter.add_(0.01)
        ladder.pin()
        data = ladder(torch.rand(1, 3, 128, 128), 1e-3, sample=True)
    for level in data:
        assert level["q_params"] is not None
        variance = level["q_params"][1].get_var()
        torch.testing.assert_close(variance, torch.full_like(variance, 1 / 12 + 1e-6))


@pytest.mark.parametrize("preset", get_args(Preset))
def test_gains_belong_to_the_networks(preset: Preset) -> None:
    """Networks with gains do to latents what networks without do to latents times gains."""
    torch.manual_seed(0)
    decoder = SharedDecoder(preset)
    with torch.no_grad():
        decoder.gain.normal_()
        decoder.slope["synthesis/trunk/0/bias"].normal_()
        without = SharedDecoder(preset)
        without.load_state_dict(decoder.state_dict() | {"gain": torch.zeros(2, N_LEVELS)})
        lmbda = 3e-3
        gains = torch.exp(decoder.gain[0] + decoder.gain[1] * condition(lmbda))
        dense = torch.randn(1, N_LEVELS, 16, 16)
        model = decoder.model
        model.load_state_dict(decoder.networks(lmbda), strict=False)
        rendered = model.synthesis(dense)
        model.load_state_dict(without.networks(lmbda), strict=False)
        torch.testing.assert_close(rendered, model.synthesis(dense * gains[:, None, None]))


# --- training


def test_training_lowers_the_loss(folder: Path) -> None:
    training = trained(folder, 40)
    assert training.log[-1]["loss"] < trained(folder, 10).log[-1]["loss"]
    assert training.progress == 1
    assert training.crops.names == ["0.png", "1.png"]


def test_first_the_mosaic_is_imitated(folder: Path) -> None:
    training = trained(folder, 100, n=0)
    lesson = training._mosaic
    assert lesson is not None

    def distance() -> float:
        torch.manual_seed(0)
        with torch.no_grad():
            return imitation(training.ladder, lesson, 4, 0.0).item()

    start = distance()
    networks = {n: t.clone() for n, t in training.decoders[0].state_dict().items()}
    while training.progress < 0.05:
        training.advance()
    assert distance() < start
    assert not training.log
    after = training.decoders[0].state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in networks.items())


def test_windows_of_a_mosaic() -> None:
    picture = torch.rand(3, 384, 512)
    latents = [F.avg_pool2d(picture[:1], 1 << i)[0] for i in range(N_LEVELS)]
    pictures, wanted = Mosaic(picture, latents, {}).windows(5)
    assert pictures.shape == (5, 3, 128, 128)
    for i, z in enumerate(wanted):
        torch.testing.assert_close(z, F.avg_pool2d(pictures[:, :1], 1 << i))


def test_other_presets_are_fitted_in_the_end(folder: Path) -> None:
    config = LadderConfig(presets=("lop", "mop"), steps=20)
    training = LadderTraining(Crops(folder), config)
    training.prepare()
    states: list[dict[str, Tensor]] = []
    for end in (16, 20):
        while training.step < end:
            training.advance()
        modules = {"ladder": training.ladder} | {d.preset: d for d in training.decoders}
        states.append(
            {f"{n}.{k}": t.clone() for n, m in modules.items() for k, t in m.state_dict().items()}
        )
    before, after = states
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"mop"}


def test_posteriors_stay_pinned(folder: Path) -> None:
    training = trained(folder, 2)
    for i in range(N_LEVELS):
        posterior = training.ladder._block(i).conv_in_q
        assert posterior.bias is not None
        assert not posterior.weight[1].any()
        assert posterior.bias[1].item() == pytest.approx(np.log(1 / 12))


def test_training_goes_on(folder: Path, tmp_path: Path) -> None:
    whole = trained(folder, 6)
    half = trained(folder, 6, n=3)
    half.save(tmp_path / "a.training")
    rest = trained(folder, 6, n=0)
    rest.load(tmp_path / "a.training")
    while rest.progress < 1:
        rest.advance()
    assert rest.step == 6
    for name, tensor in whole.ladder.state_dict().items():
        assert torch.equal(tensor, rest.ladder.state_dict()[name]), name
    assert [row["loss"] for row in rest.log] == [row["loss"] for row in whole.log]


def test_checkpoints_of_something_else(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.training"
    trained(folder, 6, n=1).save(path)
    with pytest.raises(UsageError, match="other settings"):
        trained(folder, 7, n=0).load(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UsageError, match="damaged"):
        trained(folder, 6, n=0).load(path)
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(UsageError, match="not a checkpoint"):
        trained(folder, 6, n=0).load(path)


def test_threads_are_kept(folder: Path) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        trained(folder, 1, n=0)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_minutes_are_kept(folder: Path) -> None:
    training = LadderTraining(Crops(folder), LadderConfig(presets=("lop",), minutes=0.01))
    training.prepare()
    while training.progress < 1:
        training.advance()
    assert training.seconds >= 0.6


@pytest.mark.parametrize(
    "settings", [{"presets": ()}, {"minutes": 0.0}, {"steps": 0}, {"kappa": -1.0}]
)
def test_illegal_settings(settings: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(settings))):
        LadderConfig(**settings)


def test_pictures_that_are_too_small(tmp_path: Path) -> None:
    Image.fromarray(picture(40, 200)).save(tmp_path / "a.png")
    with pytest.raises(UsageError, match="128"):
        Crops(tmp_path)


# --- packs


@pytest.fixture
def pack(folder: Path) -> Pack:
    return trained(folder, 1).pack()


def test_pack_round_trip(pack: Pack, tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    pack.write(path)
    assert path.stat().st_size < 1_500_000
    again = read_pack(path)
    assert again.lambdas == pack.lambdas
    assert again.meta["pictures"] == ["0.png", "1.png"]
    for name, tensor in pack.ladder.state_dict().items():
        assert torch.equal(tensor.half().float(), again.ladder.state_dict()[name]), name
    ours, theirs = (p.decoders["lop"].state_dict() for p in (pack, again))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def rewritten(path: Path, **changes: Any) -> Path:
    """Write the pack with some arrays replaced, or left out if they are None."""
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files}
    arrays.update({name.replace("__", "/"): value for name, value in changes.items()})
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})
    return path


def meta_with(path: Path, **changes: Any) -> NDArray[np.uint8]:
    with np.load(path) as archive:
        meta = json.loads(archive["meta"].tobytes())
    return np.frombuffer(json.dumps(meta | changes).encode(), np.uint8)


def test_broken_packs(pack: Pack, tmp_path: Path) -> None:
    path = tmp_path / "a.npz"

    def refused(match: str | None, **changes: Any) -> None:
        pack.write(path)
        rewritten(path, **changes)
        with pytest.raises(UsageError, match=match):
            read_pack(path)

    refused("ladder/top_prior", ladder__top_prior=np.zeros((1, 2, 1, 2), np.float16))
    refused("ladder/top_prior", ladder__top_prior=None)
    refused("ladder/top_prior", ladder__top_prior=np.zeros((1, 2, 1, 1), np.int32))
    refused("finite", decoder__lop__gain=np.full((2, 7), np.nan, np.float32))
    refused("finite", decoder__lop__gain=np.full((2, 7), 1e300))
    refused("unknown", decoder__lop__more=np.zeros(3))
    refused("what it is", meta=np.frombuffer(b"[" * 100_000, np.uint8))
    refused("what it is", meta=np.frombuffer(b"{", np.uint8))
    refused("format", meta=None)
    pack.write(path)
    for change in (
        {"format": 2}, {"lambdas": [1e-2, 1e-3]}, {"presets": ["top"]}, {"widths": [1]},
        {"presets": [["lop"]]}, {"lambdas": 3}, {"lambdas": [1e-4, 1e400]}, {"steps": None},
        {"pictures": None}, {"pictures": [1]},
    ):  # fmt: skip
        refused(None, meta=meta_with(path, **change))


def test_files_that_are_no_packs(pack: Pack, tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    pack.write(path)
    data = path.read_bytes()
    for bad in (b"", b"nothing", data[:1000], data[:-5], data[:5000] + bytes(9) + data[5009:]):
        path.write_bytes(bad)
        with pytest.raises(UsageError, match=r"a\.npz"):
            read_pack(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("meta.npy", b"\x93NUMPY\x01\x00\x04\x00(((\n")
    with pytest.raises(UsageError, match=r"a\.npz"):
        read_pack(path)
    np.savez(path, meta=np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(UsageError):
        read_pack(path)
    with pytest.raises(FileNotFoundError):
        read_pack(tmp_path / "missing.npz")


def test_packs_that_would_not_fit_into_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("ladder/top_prior.npy", bytes(20_000_000))
    with pytest.raises(UsageError, match="too large"):
        read_pack(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in "abcd":
            archive.writestr(f"{name}.npy", bytes(5_000_000))
    with pytest.raises(UsageError, match="too large"):
        read_pack(path)
    path.write_bytes(bytes(20_000_000))
    with pytest.raises(UsageError, match="too large"):
        read_pack(path)
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f4", "fortran_order": False, "shape": (1 << 40,)}
    )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("ladder/top_prior.npy", header.getvalue())
    with pytest.raises(UsageError):
        read_pack(path)


def test_numbers_that_nobody_can_use(pack: Pack, tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    pack.write(path)
    rewritten(path, decoder__lop__gain=np.full((2, 7), 1e30, np.float32))
    with pytest.raises(UsageError, match="too large"):
        start_of(picture(16, 16), init="ladder", init_pack=str(path))
    with torch.no_grad():
        for parameter in pack.ladder.parameters():
            parameter.fill_(60000.0)
    pack.write(path)
    with pytest.raises(NumchicError, match=r"no numbers|too large"):
        start_of(picture(16, 16), init="ladder", init_pack=str(path))


def test_lambdas_that_a_pack_does_not_know() -> None:
    samples = picture(16, 16)
    planes = (samples[..., 0], samples[..., 1], samples[..., 2])
    for lmbda in (1e-6, float("nan"), float("inf")):
        with pytest.raises(UsageError, match="lambda"):
            inspect(shipped_pack("lop"), Picture(planes, "rgb", 8), "lop", lmbda)


# --- what encodes start from


def test_choice_of_the_start() -> None:
    def choice(init: str, rgb: bool = True, **settings: Any) -> str:
        settings = {"effort": "fast"} | settings
        config = TrainConfig(preset="lop", init=init, **settings)
        return choose_start(config, "lop", model_of(40, 56, **settings), rgb)

    assert choice("zero") == "zero"
    assert choice("shared") == "shared"
    assert choice("ladder") == "ladder"
    assert choice("some/stream.cool") == "stream"
    assert choice("auto") == "ladder"
    assert choice("auto", lmbda=1e-6) == "shared"
    assert choice("auto", rgb=False) == "shared"
    assert choice("auto", effort="medium") == "shared"
    assert choice("auto", iterations=500) == "ladder"
    assert choice("auto", iterations=501) == "shared"
    assert choice("auto", latent_resolution=(1, 6)) == "shared"
    assert choice("auto", latent_resolution=(0, 5)) == "shared"
    assert choice("auto", latent_resolution=(0, 7)) == "ladder"
    for reason, settings in {
        "lambda": {"lmbda": 1e-6},
        "RGB": {"rgb": False},
        "0:6": {"latent_resolution": (1, 6)},
    }.items():
        with pytest.raises(UsageError, match=reason):
            choice("ladder", **settings)  # type: ignore[arg-type]


def test_presets_that_a_pack_lacks(pack: Pack, tmp_path: Path) -> None:
    pack.write(tmp_path / "a.npz")

    def choice(init: str) -> str:
        config = TrainConfig(init=init, init_pack=str(tmp_path / "a.npz"))
        model = CoolChicEncoder(architecture(config, "hop", (40, 56)))
        return choose_start(config, "hop", model, rgb=True)

    assert choice("auto") == "zero"
    for init in ("shared", "ladder"):
        with pytest.raises(UsageError, match="hop"):
            choice(init)


@pytest.mark.parametrize("preset", get_args(Preset))
def test_nothing_is_left_to_chance(preset: Preset) -> None:
    samples = picture(20, 30)
    _, first = start_of(samples, preset)
    _, second = start_of(samples, preset, seed=1)
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name
        assert torch.isfinite(tensor).all()


def test_shared_networks_have_latents_of_zero() -> None:
    _, param = start_of(picture(20, 30), init="shared")
    _, ladder = start_of(picture(20, 30), init="ladder")
    for name, tensor in param.items():
        if name.startswith("latent_grids"):
            assert not tensor.any()
    assert ladder["latent_grids.0"].any()
    decoder = shipped_pack("lop").decoders["lop"]
    for start, networks in ((param, decoder.first_networks()), (ladder, decoder.networks(1e-3))):
        for name, tensor in networks.items():
            torch.testing.assert_close(start[name], tensor.detach())


@pytest.mark.parametrize(
    "settings",
    [
        {"latent_resolution": (0, 7)},
        {"latent_resolution": (0, 8), "hyperlatent_resolution": (5, 8)},
        {"hyperlatent_resolution": "auto"},
        {"hyperlatent_resolution": (3, 6)},
    ],
)
def test_more_grids_change_nothing_at_the_start(settings: dict[str, Any]) -> None:
    """The others are zero, and so is what they add."""
    samples = held_out()
    plain, _ = start_of(samples, init="ladder")
    larger, _ = start_of(samples, init="ladder", **settings)
    with torch.no_grad():
        a, b = (m.eval()(flag_additional_outputs=True) for m in (plain, larger))
    torch.testing.assert_close(a["raw_out"], b["raw_out"])
    ours, theirs = a["additional_data"]["rate"], b["additional_data"]["rate"]
    places = [i for i, g in enumerate(larger.grids) if not g.hyper and g.level < N_LEVELS]
    for rate, i in zip(ours, places, strict=True):
        torch.testing.assert_close(rate, theirs[i])


def test_coarser_latents_keep_what_is_theirs() -> None:
    model, _ = start_of(picture(40, 56), init="shared", latent_resolution=(2, 6))
    whole, _ = start_of(picture(40, 56), init="shared")
    ours, theirs = (dict(m.named_parameters()) for m in (model, whole))
    first = "synthesis.trunk.0.weight"
    assert torch.equal(ours[first], theirs[first][:, 2:])
    assert torch.equal(ours["upsampling.x2.3.weight"], theirs["upsampling.x2.3.weight"])


def test_other_channels_have_a_synthesis_of_their_own() -> None:
    config = TrainConfig(init="shared")
    model = model_of(40, 56)
    target = target_of(picture(40, 56))
    (rgb,) = starting_points(model, config, "shared", "lop", target)
    (yuv,) = starting_points(model, config, "shared", "lop", target, rgb=False)
    differing = {name.split(".")[0] for name in rgb if not torch.equal(rgb[name], yuv[name])}
    assert differing == {"synthesis"}


def test_plans() -> None:
    for n in (20, 100, 1000):
        *warm_up, main_phase = plan(TrainConfig(iterations=n), "lop", "zero")
        lengths = [phase.n_iterations for phase in warm_up]
        assert 5 * lengths[0] + 2 * lengths[1] + main_phase.n_iterations == n
        for start in ("shared", "ladder", "stream"):
            (only,) = plan(TrainConfig(iterations=n), "lop", start)
            assert only.n_iterations == n
    (only,) = plan(TrainConfig(iterations=19), "lop", "zero")
    assert plan(TrainConfig(iterations=0), "lop", "ladder") == []


# --- encodes


def test_a_ladder_without_training() -> None:
    samples = held_out()
    settings = {"preset": "lop", "iterations": 0, "rdoq": False}
    ladder = encode(samples, TrainConfig(**settings, init="ladder"))  # type: ignore[arg-type]
    zero = encode(samples, TrainConfig(**settings, init="zero"))  # type: ignore[arg-type]
    assert (ladder.start, zero.start) == ("ladder", "zero")
    assert 10 * ladder.loss < zero.loss
    assert numchic.decode(ladder.stream).to_rgb().shape == (128, 128, 3)


@pytest.mark.parametrize("size", [(1, 1), (65, 130), (16, 3)])
def test_odd_sizes(size: tuple[int, int]) -> None:
    samples = picture(*size)
    result = encode(samples, TrainConfig(preset="lop", iterations=3, init="ladder", rdoq=False))
    assert numchic.decode(result.stream).to_rgb().shape == (*size, 3)


def test_sixteen_bits_and_wasserstein() -> None:
    deep = picture(24, 33).astype(np.uint16) * np.uint16(257)
    config = TrainConfig(preset="lop", iterations=2, rdoq=False)
    assert encode(deep, config, bitdepth=16).start == "ladder"
    tuned = dataclasses.replace(config, tune="wasserstein")
    assert encode(picture(48, 33), tuned).start == "ladder"


def test_a_goal_moves_the_start() -> None:
    config = TrainConfig(preset="lop", iterations=0, target_bpp=0.5, rdoq=False)
    result = encode(held_out(), config)
    assert result.lmbda != config.lmbda


def test_a_goal_beyond_the_lambdas_of_the_pack(tmp_path: Path) -> None:
    """The search goes on without the ladder, to the same end after an interruption as well."""
    config = TrainConfig(
        preset="lop", iterations=0, init="ladder", lmbda=1e-4, target_psnr=60.0, rdoq=False
    )
    checkpoint = tmp_path / "a.training"
    result = encode(picture(8, 8), config, checkpoint=checkpoint)
    assert any(float(row["lmbda"]) < config.lmbda for row in result.log)
    again = encode(picture(8, 8), config, checkpoint=checkpoint)
    assert (again.start, again.stream) == (result.start, result.stream)


@pytest.mark.parametrize("preset", get_args(Preset))
def test_shipped_packs(preset: Preset) -> None:
    pack = shipped_pack(preset)
    assert preset in pack.decoders
    assert pack.lambdas == (1e-4, 8e-3)
    unseen = {"kodim05.png", "kodim14.png", "kodim15.png", "kodim23.png", "kodim24.png"}
    assert not unseen & set(pack.meta["pictures"])


# --- commands


def test_train_and_use_a_pack(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "mine.npz"
    options = ["--steps", "2", "--presets", "lop", "--log", tmp_path / "log.csv"]
    result = run("train-ladder", "--images", folder, "--out", out, *options)
    assert result.exit_code == 0, result.output
    assert "2 steps on 2 pictures" in result.stderr
    assert (tmp_path / "log.csv").read_text().startswith("step,seconds,loss,")
    assert not list(tmp_path.glob("*.training"))
    stream = tmp_path / "a.cool"
    options = ["--init", "ladder", "--init-pack", out, "--iterations", "0", "--preset", "lop"]
    result = run("encode", folder / "0.png", stream, *options)
    assert result.exit_code == 0, result.output
    assert "lop from ladder" in result.stderr
    assert numchic.decode(stream).to_rgb().shape == (130, 160, 3)
    drawing = tmp_path / "a.png"
    result = run("ladder", "inspect", folder / "0.png", drawing, "--pack", out, "--preset", "lop")
    assert result.exit_code == 0, result.output
    assert "0.png, 1.png" in result.stderr
    with Image.open(drawing) as image:
        assert image.width > 500


def test_an_interrupted_training(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "mine.npz"
    command = ["train-ladder", "--images", folder, "--out", out, "--steps", "4", "--presets", "lop"]
    advance = LadderTraining.advance

    def interrupted(training: LadderTraining) -> None:
        if training.step == 1:
            signal.raise_signal(signal.SIGINT)
        advance(training)

    monkeypatch.setattr(LadderTraining, "advance", interrupted)
    assert run(*command).exit_code == 130
    training = LadderTraining(Crops(folder), LadderConfig(presets=("lop",), steps=4))
    training.load(tmp_path / "mine.npz.training")
    assert training.step == 2
    monkeypatch.setattr(LadderTraining, "advance", advance)
    again = run(*command)
    assert again.exit_code == 2
    assert "--resume" in again.stderr
    result = run(*command, "--resume")
    assert result.exit_code == 0, result.output
    assert read_pack(out).meta["steps"] == 4


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["train-ladder", "--out", "a.npz"], 2, "--images"),
        (["train-ladder", "--images", "images", "--out", "no/a.npz"], 5, "no"),
        (["train-ladder", "--images", "images", "--out", "a.npz", "--presets", "x"], 2, "presets"),
        (["train-ladder", "--images", "images", "--out", "a.npz", "--log", "a"], 2, ".csv"),
        (["ladder", "inspect", "images/0.png", "a.png", "--pack", "images/notes.txt"], 2, "pack"),
        (["ladder", "inspect", "missing.png", "a.png"], 5, "missing.png"),
        (["encode", "images/0.png", "a.cool", "--init-pack", "images/notes.txt"], 2, "pack"),
    ],
)
def test_errors(
    folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], status: int, message: str
) -> None:
    monkeypatch.chdir(folder.parent)
    result = run(*arguments)
    assert result.exit_code == status, result.output
    assert message in result.stderr
    assert sorted(p.name for p in Path().iterdir()) == ["images"]
