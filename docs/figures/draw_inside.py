# SPDX-License-Identifier: BSD-3-Clause
"""Draw ``inside.svg``: the way of a picture from bytes to samples, with the modules that go it.

What is shown are the stages of ``examples/astronaut.cool``.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import numchic
from numchic.files.images import write_file
from numchic_conformance.stages import decode_stages

HERE = Path(__file__).parent
STREAM = HERE.parents[1] / "examples" / "astronaut.cool"

WIDTH, HEIGHT, GAP, TOP = 270, 216, 36, 20  # of a box, between boxes, above all
INK, PALE, EDGE = "#1f2937", "#6b7280", "#3f51b5"

# Title, what comes out, modules; nine boxes along the way, three in a row.
BOXES = [
    ("1 Bytes", "a stream and its generation",
     ["numchic.opened", "numchic_bitstream.generations"]),
    ("2 Headers", "sizes, checked, and compared with limits",
     ["numchic_bitstream.v5.stream", "numchic_bitstream.v5.headers",
      "numchic_bitstream.v5.trailer"]),
    ("3 Networks", "integers of four small networks",
     ["numchic_bitstream.v5.expgolomb", "numchic_bitstream.v5.parameters"]),
    ("4 Latents", "a pyramid of integer grids",
     ["numchic.v5.latents numchic.v5.context", "numchic.v5.ifce    numchic.v5.arm",
      "numchic_bitstream.v5.laplace", "numchic_bitstream.v5.rangecoder"]),
    ("5 Upsampling", "all grids at the size of the picture",
     ["numchic.v5.upsampling", "numchic.v5.noise"]),
    ("6 Synthesis", "a signal in float32: here R, G, B",
     ["numchic.v5.synthesis", "numchic.v5.resize"]),
    ("7 Prediction", "P and B frames: what moved, and a rest",
     ["numchic.v5.prediction", "numchic.v5.warp", "numchic.references"]),
    ("8 Samples", "integers: 8 x 8 pixels of the picture",
     ["numchic.v5.frame", "numchic.v5.integrity"]),
    ("9 Picture", "an array, a file, a frame of a video",
     ["numchic.picture", "numchic.video", "numchic.files"]),
]  # fmt: skip


def text(x: float, y: float, words: str, size: float, colour: str = INK, more: str = "") -> str:
    """One line of text."""
    look = f'font-size="{size:g}" fill="{colour}" {more}'
    return f'<text x="{x:g}" y="{y:g}" {look}>{escape(words)}</text>'


def image(
    x: float, y: float, width: float, samples: NDArray[Any], height: float | None = None
) -> str:
    """Draw an array as a picture; its pixels stay visible."""
    file = io.BytesIO()
    Image.fromarray(samples).save(file, "PNG", optimize=True)
    data = base64.b64encode(file.getvalue()).decode()
    return (
        f'<image x="{x:g}" y="{y:g}" width="{width:g}" height="{height or width:g}" '
        'preserveAspectRatio="none" '
        f'style="image-rendering:pixelated" href="data:image/png;base64,{data}"/>'
    )


def grey(values: NDArray[Any], largest: float) -> NDArray[np.uint8]:
    """Give numbers in -largest .. largest as shades: zero is a middle grey."""
    return np.uint8(np.clip(128 + 127 * np.asarray(values, np.float64) / largest, 0, 255))


def draw_bytes(data: bytes) -> Iterator[str]:
    """First bytes of the stream."""
    for row in range(6):
        words = data[10 * row : 10 * row + 10].hex(" ")
        yield text(14, 62 + 15 * row, words, 12, INK, 'class="code"')


def draw_headers(info: numchic.StreamInfo) -> Iterator[str]:
    """Some of what headers tell."""
    (part,) = info.frames[0].parts
    lines = [
        f"{info.width} x {info.height} pixels, {info.data_type}, {info.bitdepth} bits",
        f"{len(part.grids)} grids of latents, {part.latent_bytes} bytes",
        f"{sum(part.n_parameters.values())} parameters, {part.nn_bytes} bytes",
        f"{info.macs_per_pixel:.0f} multiplications per pixel",
    ]
    for row, words in enumerate(lines):
        yield text(14, 66 + 20 * row, words, 13)


def draw_networks(weights: NDArray[Any]) -> Iterator[str]:
    """The largest network's weights as a pattern."""
    columns = 44
    for part in range(2):
        rows = weights[part * 440 : part * 440 + 440].reshape(-1, columns)
        shown = grey(rows, float(np.abs(weights).max()) / 2)
        yield image(14, 48 + 48 * part, 242, shown, 44)


def draw_latents(grids: list[NDArray[Any]]) -> Iterator[str]:
    """Draw grids by size, the finest first."""
    x, sizes = 14.0, (96, 64, 36, 20, 12)
    for size, grid in zip(sizes, grids, strict=False):
        yield image(x, 46 + 96 - size, size, grey(grid, 6))
        x += size + 4


def draw_stack(channels: list[NDArray[Any]], largest: float) -> Iterator[str]:
    """Channels of the same size, one behind the other."""
    for k, channel in enumerate(channels):
        small = channel[::2, ::2]
        yield image(14 + 146 * k / (len(channels) - 1), 46, 96, grey(small, largest))


def draw_prediction() -> Iterator[str]:
    """Two references, and blocks of them that move into a frame between."""
    for x, words in ((14, "reference"), (96, "frame"), (178, "reference")):
        yield f'<rect x="{x}" y="58" width="76" height="58" fill="#eef1fb" stroke="{EDGE}"/>'
        yield text(x + 38, 132, words, 11, PALE, 'text-anchor="middle"')
    for x, y in ((30, 70), (124, 80), (222, 88)):
        yield f'<rect x="{x}" y="{y}" width="16" height="16" fill="#f59e0b"/>'
    for way in ("M48 79 L122 87", "M220 96 L142 90"):
        yield f'<path d="{way}" stroke="{INK}" marker-end="url(#tip)"/>'


def draw_samples(picture: NDArray[Any]) -> Iterator[str]:
    """Draw some pixels, with the numbers of those of the first row."""
    block = picture[100:108, 108:116]
    yield image(14, 46, 96, block)
    for row in range(4):
        words = "  ".join(f"{value:3d}" for value in block[row, 0])
        yield text(128, 64 + 20 * row, words, 13, INK, 'class="code" xml:space="preserve"')


def contents() -> list[Iterator[str]]:
    """What is in each of the boxes."""
    data = STREAM.read_bytes()
    stages = {name: array for name, array in decode_stages(data) if name != "samples"}
    picture = numchic.decode(data).to_rgb()
    grids = [stages[f"latents.{k}"] for k in (0, 1, 2, 3, 5)]
    return [
        draw_bytes(data),
        draw_headers(numchic.read_info(data)),
        draw_networks(stages["parameters.arm_weight"]),
        draw_latents(grids),
        draw_stack(list(stages["dense"][:5]), 6),
        draw_stack(list(stages["synthesis"] * 2 - 1), 1),
        draw_prediction(),
        draw_samples(picture),
        iter([image(87, 46, 96, picture[::2, ::2])]),
    ]


def place(index: int) -> tuple[int, int]:
    """Corner of a box: rows go to and fro, so that the way has no jumps."""
    row, column = divmod(index, 3)
    if row % 2:
        column = 2 - column
    return TOP + column * (WIDTH + GAP), TOP + row * (HEIGHT + GAP)


def draw_box(index: int, content: Iterator[str]) -> Iterator[str]:
    """One stage: title, what it gives, and modules."""
    title, result, modules = BOXES[index]
    x, y = place(index)
    yield f'<g transform="translate({x} {y})">'
    yield (
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="8" fill="#fff" stroke="{EDGE}" '
        'stroke-width="1.5"/>'
    )
    yield text(14, 22, title, 15, EDGE, 'font-weight="bold"')
    yield text(14, 38, result, 12, PALE)
    yield from content
    first = HEIGHT - 6 - 14 * len(modules)
    for row, module in enumerate(modules):
        yield text(14, first + 14 * row + 6, module, 11, INK, 'class="code" xml:space="preserve"')
    yield "</g>"


def draw_way() -> Iterator[str]:
    """Arrows from box to box."""
    for index in range(len(BOXES) - 1):
        (x, y), (to_x, to_y) = place(index), place(index + 1)
        if y == to_y:
            right = to_x > x
            start = (x + WIDTH * right, y + HEIGHT / 2)
            end = (to_x + WIDTH * (not right), to_y + HEIGHT / 2)
        else:
            start, end = (x + WIDTH / 2, y + HEIGHT), (to_x + WIDTH / 2, to_y)
        yield (
            f'<path d="M{start[0]:g} {start[1]:g} L{end[0]:g} {end[1]:g}" stroke="{INK}" '
            'stroke-width="2" marker-end="url(#tip)"/>'
        )


def draw() -> str:
    """Give the whole picture."""
    width, height = 2 * TOP + 3 * WIDTH + 2 * GAP, 2 * TOP + 3 * HEIGHT + 2 * GAP
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="Helvetica, Arial, sans-serif">',
        "<title>From bytes to samples: nine stages and their modules</title>",
        "<style>.code{font-family:Menlo,Consolas,'DejaVu Sans Mono',monospace}</style>",
        '<defs><marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" '
        'markerHeight="7" markerUnits="userSpaceOnUse" orient="auto">'
        f'<path d="M0 0L10 5L0 10z" fill="{INK}"/></marker></defs>',
        # A ground of its own, so that it can be read on a dark page too.
        f'<rect width="{width}" height="{height}" rx="10" fill="#f5f6fa"/>',
        *draw_way(),
    ]
    for index, content in enumerate(contents()):
        parts += draw_box(index, content)
    return "\n".join([*parts, "</svg>\n"])


def main() -> None:
    """Write the picture."""
    write_file(HERE / "inside.svg", draw().encode())


if __name__ == "__main__":
    main()
