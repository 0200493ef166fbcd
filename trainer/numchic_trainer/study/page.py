# SPDX-License-Identifier: BSD-3-Clause
"""``index.html``: a study as one page that stands alone."""

from __future__ import annotations

import base64
from typing import Any

import jinja2

from numchic_trainer.study.content import Content, Drawing
from numchic_trainer.study.names import printable

_TYPES = {"svg": "image/svg+xml", "png": "image/png"}


def page(content: Content) -> str:
    """Text of the file."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("numchic_trainer.study", ""),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["uri"] = _uri
    return environment.get_template("page.html.jinja").render(content=content) + "\n"


def _shown(value: Any) -> Any:
    return printable(value) if type(value) is str else value


def _uri(drawing: Drawing) -> str:
    """Contents as an address."""
    kind = _TYPES[drawing.name.rpartition(".")[2]]
    return f"data:{kind};base64,{base64.b64encode(drawing.data).decode()}"
