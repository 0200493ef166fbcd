# SPDX-License-Identifier: BSD-3-Clause
"""Settings are checked when they are made, whoever makes them."""

from __future__ import annotations

import pickle
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from numchic.command.cli import main
from numchic_bitstream import UsageError
from numchic_trainer.command.cli import encode_batch_command, encode_command
from numchic_trainer.config import EFFORTS, PRESETS, TrainConfig
from numchic_trainer.ladder.config import LadderConfig
from numchic_trainer.settings import settings_of
from numchic_trainer.video.config import VideoConfig

WRONG: list[tuple[str, Any]] = [
    ("lmbda", 0.0),
    ("lmbda", "1e-3"),
    ("lmbda", float("nan")),
    ("lmbda", float("inf")),
    ("lmbda", 10**400),
    ("lmbda", True),
    ("lmbda", None),
    ("lmbda", np.ones(1)),
    ("lmbda", 1e-3 + 0j),
    ("preset", "top"),
    ("preset", ["lop"]),
    ("iterations", -1),
    ("iterations", 1.5),
    ("iterations", 2.0),
    ("iterations", True),
    ("iterations", "400"),
    ("iterations", 10**30),
    ("seed", -1),
    ("seed", 1 << 64),
    ("seed", 10**5000),
    ("seed", None),
    ("target_bpp", 0),
    ("target_bpp", float("inf")),
    ("target_bpp", "1"),
    ("target_psnr", float("nan")),
    ("target_psnr", float("inf")),
    ("target_psnr", 100),
    ("tune", "beauty"),
    ("weights", ""),
    ("weights", np.ones((2, 2))),
    ("init", None),
    ("init", ""),
    ("init", b"a.cool"),
    ("init", "a\0b"),
    ("init_pack", 3),
    ("latent_resolution", (0, 99)),
    ("latent_resolution", (0, 1, 2)),
    ("latent_resolution", 3),
    ("latent_resolution", "0:6"),
    ("latent_resolution", (0.0, 6.0)),
    ("hyperlatent_resolution", "none"),
    ("ifce_resolution", (0, -1)),
    ("common_randomness", 1),
    ("final_upsampling_type", "lanczos"),
    ("trailer", None),
    ("trailer", "no"),
    ("metadata", 0),
    ("device", torch.device("cpu")),
    ("device", 0),
    ("threads", 0),
    ("threads", 100_000),
    ("learning_rate", -1),
    ("latent_betas", 0.8),
    ("latent_betas", (0.8, float("nan"))),
    ("n_candidates", 0),
    ("n_finalists", 9),
    ("n_finalists", 1.0),
    ("warm_up_share", 2),
    ("network_rate", "auto"),
    ("rdoq", "yes"),
]


@pytest.mark.parametrize(("name", "value"), WRONG, ids=lambda v: str(type(v).__name__))
def test_what_is_not_allowed_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(UsageError) as caught:
        TrainConfig(**{name: value})
    assert caught.value.field == name
    message = str(caught.value)
    assert name in message
    assert len(message) < 300
    assert str(pickle.loads(pickle.dumps(caught.value))) == message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("presets", "lop"),
        ("presets", ()),
        ("presets", ("lop", "lop")),
        ("presets", ("top",)),
        ("minutes", 0),
        ("minutes", float("inf")),
        ("steps", 1.5),
        ("steps", 0),
        ("kappa", float("nan")),
        ("seed", 1 << 64),
        ("seed", "0"),
    ],
)
def test_those_of_the_ladder_too(name: str, value: Any) -> None:
    with pytest.raises(UsageError) as caught:
        LadderConfig(**{name: value})
    assert caught.value.field == name


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"structure": "pyramid"}, "structure"),
        ({"structure": "random-access:0"}, "structure"),
        ({"structure": "intra", "p": "1"}, "structure"),
        ({"intra": "0,x"}, "intra"),
        ({"intra": [0, 8]}, "intra"),
        ({"p": "1-"}, "p"),
        ({"warp_size": 3}, "warp_size"),
        ({"lambda_by_level": float("nan")}, "lambda_by_level"),
    ],
)
def test_those_of_a_video_before_there_is_one(settings: dict[str, Any], name: str) -> None:
    with pytest.raises(UsageError) as caught:
        VideoConfig(**settings)
    assert caught.value.field == name
    assert caught.value.allowed


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"target_bpp": 1.0, "target_psnr": 30.0}, "target_psnr"),
        ({"metadata": True, "trailer": False}, "metadata"),
        ({"n_finalists": 2, "n_candidates": 1}, "n_finalists"),
    ],
)
def test_what_does_not_fit_together_is_refused(settings: dict[str, Any], name: str) -> None:
    with pytest.raises(UsageError) as caught:
        TrainConfig(**settings)
    assert caught.value.field == name


def test_an_effort_is_one_of_four() -> None:
    for effort in ("quick", 3, ["fast"]):
        with pytest.raises(UsageError, match="effort"):
            TrainConfig(effort=effort)  # type: ignore[arg-type]


def test_every_effort_is_longer_than_the_one_before_and_iterations_have_the_last_word() -> None:
    for preset in PRESETS:
        numbers = [TrainConfig(effort=effort).n_iterations(preset) for effort in EFFORTS]
        assert numbers == sorted(set(numbers))
    assert TrainConfig(effort="slow", iterations=3).n_iterations("lop") == 3


def test_numbers_of_numpy_and_paths_become_plain() -> None:
    given: dict[str, Any] = {
        "iterations": np.int64(3), "seed": np.uint64((1 << 64) - 1), "lmbda": np.float32(0.5),
        "threads": np.int8(2), "rdoq": np.False_, "init": Path("a.cool"),
        "latent_resolution": [np.int32(0), 4],
    }  # fmt: skip
    config = TrainConfig(**given)
    plain = TrainConfig(
        iterations=3, seed=(1 << 64) - 1, lmbda=0.5, threads=2, rdoq=False, init="a.cool",
        latent_resolution=(0, 4),
    )  # fmt: skip
    assert config == plain
    for field in fields(config):
        assert type(getattr(config, field.name)) is type(getattr(plain, field.name))


def test_every_setting_says_what_it_is_once() -> None:
    """To readers of the class and to those of the command line."""
    assert TrainConfig.__doc__ is not None
    for command in (encode_command, encode_batch_command):
        options = {option.name: option for option in command.params}
        for name, setting in settings_of(TrainConfig).items():
            assert setting.help.endswith(".")
            assert setting.help in TrainConfig.__doc__
            assert (name in options) == setting.option
            assert not setting.option or getattr(options[name], "help", "") == setting.help


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seed", str(1 << 64)], "18446744073709551615"),
        (["--seed", "-1"], "--seed"),
        (["--threads", "100000"], "1024"),
        (["--lmbda", "nan"], "--lmbda"),
        (["--target-bpp", "inf"], "--target-bpp"),
        (["--target-psnr", "1e9999"], "--target-psnr"),
        (["--iterations", "1.5"], "a whole number"),
        (["--effort", "quick"], "fast, medium, slow, best"),
        (["--hyperlatent-resolution", "4-6"], "auto"),
        (["--latent-resolution", "0:99"], "0 .. 15"),
        (["--ifce-resolution", "0:1:2"], "--ifce-resolution"),
        (["--size", "12"], "352x288"),
        (["--bitdepth", "32"], "8 .. 16"),
    ],
)
def test_options_are_refused_with_what_is_allowed(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(main, ["encode", "a.png", "a.cool", *arguments])
    assert result.exit_code == 2, result.output
    assert message in result.stderr


def test_settings_and_help_need_no_torch() -> None:
    code = (
        "import sys; sys.modules['torch'] = sys.modules['safetensors'] = None;"
        "from numchic_trainer import TrainConfig; TrainConfig(device='cuda');"
        "from click.testing import CliRunner; from numchic.command.cli import main;"
        "a = [['encode'], ['encode-batch'], ['train-ladder'], ['ladder', 'inspect']];"
        "r = [CliRunner().invoke(main, [*c, '--help']) for c in a];"
        "assert all(x.exit_code == 0 for x in r); assert '--lmbda' in r[0].output"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
