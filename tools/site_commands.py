# SPDX-License-Identifier: BSD-3-Clause
"""The command ``numchic`` as MkDocs' plugin for click reads it: with what other packages add."""

import click

from numchic.command.cli import main


def whole(group: click.Group) -> click.Group:
    """Give a group whose commands are all loaded."""
    context = click.Context(group)
    commands = [group.get_command(context, name) for name in group.list_commands(context)]
    loaded = [command for command in commands if command is not None]
    return click.Group(
        group.name, loaded,
        params=group.params, help=group.help, context_settings=group.context_settings,
    )  # fmt: skip


numchic = whole(main)
