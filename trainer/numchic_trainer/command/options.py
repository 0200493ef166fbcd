# SPDX-License-Identifier: BSD-3-Clause
"""Options of the command line, made of what is known of settings."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import MISSING
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from numchic_trainer.config import TrainConfig
from numchic_trainer.settings import FLAG, Kind, Setting, choice, number, settings_of
from numchic_trainer.study.config import AXES, COMMON, StudyConfig
from numchic_trainer.video.config import VideoConfig

if TYPE_CHECKING:
    _ParamType = click.ParamType[Any]
else:
    _ParamType = click.ParamType  # which is generic only in newer versions

Command = Callable[..., None]


def _size(text: str) -> tuple[int, int]:
    """Height and width of WxH."""
    width, height = text.lower().split("x")
    return int(height), int(width)


SOURCE = {
    "size": Setting(
        Kind("a size such as 352x288", "WxH", _size, _size),
        "A .yuv file has pictures of this size.",
    ),
    "data_type": Setting(
        choice("yuv420", "yuv444"), "A .yuv or .npy file has chroma of this kind."
    ),
    "bitdepth": Setting(number(int, 8, 16), "A .yuv or .npy file has samples of this many bits."),
}


class _Type(_ParamType):
    """Values of a setting."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.name = setting.kind.metavar

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Convert the text."""
        try:
            return self.setting.parse(value)
        except ValueError:
            allowed = ", ".join([self.setting.kind.allowed, *self.setting.words])
            self.fail(f"{value!r} is not {allowed}", param, ctx)


Decorator = Callable[[Command], Command]
Table = dict[str, tuple[Setting, Any]]
"""Settings and their defaults, by name."""


def option(name: str, setting: Setting, default: Any = MISSING) -> Decorator:
    """Option of a setting; without a default it is None if it is not given."""
    long = "--" + name.replace("_", "-")
    more: dict[str, Any] = {"help": setting.help, "show_default": default is not MISSING}
    if setting.kind is FLAG:
        return click.option(f"{long}/--no-{long[2:]}", default=default, **more)
    word = None if default is MISSING else setting.word(default)
    more |= {"type": _Type(setting), "metavar": setting.kind.metavar}
    return click.option(long, name, default=word, **more)


def options(argument: str, table: Table) -> Decorator:
    """Decorator: options, of which those that are given become one dictionary."""

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def collected(**arguments: Any) -> None:
            source = click.get_current_context().get_parameter_source
            values = {name: arguments.pop(name) for name in table}
            for name in table:
                if source(name) is ParameterSource.DEFAULT:
                    del values[name]
            command(**{argument: values}, **arguments)

        decorated: Command = collected
        for name in reversed(table):
            decorated = option(name, *table[name])(decorated)
        return decorated

    return decorate


def table_of(config: type) -> Table:
    """Settings of a dataclass that the command line has."""
    settings = settings_of(config).items()
    return {name: (setting, getattr(config, name)) for name, setting in settings if setting.option}


train_options = options("settings", table_of(TrainConfig))
"""The settings of an encode, as arguments of :class:`TrainConfig`."""

video_options = options("settings", table_of(VideoConfig))
"""The settings of an encode of pictures or a video, as arguments of :class:`VideoConfig`."""

_train_table = table_of(TrainConfig)
study_options = options(
    "settings",
    {name: (setting, getattr(StudyConfig, name)) for name, setting in AXES.items()}
    | {name: _train_table[name] for name in _train_table if name in COMMON},
)
"""The axes of a study, and what its encodes have in common."""

source_options = options("source", {name: (setting, MISSING) for name, setting in SOURCE.items()})
"""What files do not say of themselves, as arguments of :func:`numchic_trainer.read_picture`."""
