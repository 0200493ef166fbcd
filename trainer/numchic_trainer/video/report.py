# SPDX-License-Identifier: BSD-3-Clause
"""Pictures of what the encode of a video has done: ``index.html`` and its figures."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from numchic.files.images import write_file
from numchic.generations import generation
from numchic.picture import Picture
from numchic.video import decode_video
from numchic_bitstream import Frame, Stream, read_stream
from numchic_trainer.figures import block_side, png
from numchic_trainer.kernels.workers import available_cores
from numchic_trainer.video.figures import (
    KIND_COLOURS,
    MAX_DRAWN,
    PARTS,
    courses,
    pictures,
    structure,
    wheel,
)
from numchic_trainer.video.frame import FrameReport
from numchic_trainer.video.frames import FrameReader
from numchic_trainer.video.result import VideoResult
from numchic_trainer.video.signals import signals_of

_STYLE = (
    "body{font-family:sans-serif;margin:2em}img{max-width:100%}.wide{overflow-x:auto}"
    ".wide img{max-width:none}td,th{padding:0 .5em;white-space:nowrap}.facts th{text-align:left}"
    ".frames{border-collapse:collapse;font-size:85%}.frames td{text-align:right}"
    ".frames tr:nth-child(even){background:#f3f3f3}.frames th{vertical-align:bottom}"
)
_MOTION = (
    "Motion fields: every pixel looks at its reference along its vector. Colour is the direction, "
    "brightness the length, the brightest being the length that is named; arrows show both."
)


def write_video_report(
    directory: Path,
    frames: FrameReader,
    result: VideoResult,
    chosen: Mapping[int, str] | None = None,
) -> list[Path]:
    """Draw an encode.

    Parameters
    ----------
    directory : Path
        Folder of the files, which is made if it does not exist.
    frames : FrameReader
        What was encoded.
    result : VideoResult
    chosen : mapping, optional
        Frames of which pictures are drawn, by display index, and why these;
        :func:`notable_frames` by default.

    Returns
    -------
    list of Path
        The files: structure.png, frames.png, wheel.png if anything moves, one frame-NNNN.png for
        every chosen frame, index.html.
    """
    directory.mkdir(parents=True, exist_ok=True)
    reports = sorted(result.frames, key=lambda report: report.index)
    first = frames[0]
    planes = ("R", "G", "B") if first.data_type == "rgb" else ("Y", "U", "V")
    chosen = notable_frames(reports) if chosen is None else chosen
    drawn = {"structure": structure(reports), "frames": courses(reports, planes)}
    if any(reports[index].kind != "I" for index in chosen):
        drawn["wheel"] = wheel()
    paths = [_write(directory, name, figure) for name, figure in drawn.items()]
    stream = read_stream(result.stream)
    decoded = _decoded(stream, reports, chosen)
    coded = {frame.header.display_index: frame for frame in stream.frames}
    for index in chosen:
        figure = _pictures(reports[index], coded[index], frames[index], decoded)
        paths.append(_write(directory, _name(index), figure))
    page = _Page(reports, result, first, planes, stream.header.n_bytes_header, chosen)
    paths.append(directory / "index.html")
    write_file(paths[-1], page.text().encode())
    return paths


def notable_frames(reports: Sequence[FrameReport]) -> dict[int, str]:
    """Choose frames to look at.

    Parameters
    ----------
    reports : sequence of FrameReport

    Returns
    -------
    dict
        Display indices, in order, and why these: the first I frame, the largest P or B frame, the
        one of the largest error, and the one of the median error.
    """
    by_error = sorted(reports, key=lambda report: report.mse)
    found = {
        "the first I frame": next(report for report in reports if report.kind == "I"),
        "the largest error": by_error[-1],
        "the median error": by_error[(len(by_error) - 1) // 2],
    }
    predicted = [report for report in reports if report.kind != "I"]
    if predicted:
        found["the largest P or B frame"] = max(predicted, key=lambda report: report.n_bytes)
    indices = sorted({report.index for report in found.values()})
    return {
        index: ", ".join(reason for reason, report in found.items() if report.index == index)
        for index in indices
    }


def _name(index: int) -> str:
    return f"frame-{index:04d}"


def _write(directory: Path, name: str, figure: Figure) -> Path:
    path = directory / f"{name}.png"
    write_file(path, png(figure))
    return path


def _decoded(
    stream: Stream, reports: Sequence[FrameReport], indices: Mapping[int, str]
) -> dict[int, Picture]:
    """Decode frames and their references."""
    wanted = {*indices, *(i for index in indices for i in reports[index].references)}
    decoder = generation(stream.generation).frame_decoder(stream)
    threads = available_cores()
    return {
        stream.places[place].display_index: found.picture
        for place, found in decode_video(stream.places, sorted(wanted), decoder, threads=threads)
    }


def _pictures(
    report: FrameReport, coded: Frame, source: Picture, decoded: Mapping[int, Picture]
) -> Figure:
    signals = None
    if report.kind != "I":
        signals = signals_of(coded, [decoded[index] for index in report.references])
    return pictures(report, source, decoded[report.index], signals)


class _Page:
    """The page that shows all.

    ``frames`` are in the order of display, ``header_bytes`` is the size of the header of the video.
    """

    def __init__(
        self,
        frames: Sequence[FrameReport],
        result: VideoResult,
        first: Picture,
        planes: Sequence[str],
        header_bytes: int,
        chosen: Mapping[int, str],
    ) -> None:
        self._frames = frames
        self._result = result
        self._first = first
        self._planes = planes
        self._header_bytes = header_bytes
        self._chosen = chosen

    def text(self) -> str:
        """HTML."""
        note = ""
        if len(self._frames) > MAX_DRAWN:
            note = f" (the first {MAX_DRAWN} of {len(self._frames)} frames)"
        parts = [
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
            f"<title>numchic encode</title>\n<style>{_STYLE}</style></head>\n"
            "<body><h1>numchic encode</h1>",
            self._facts(),
            f"<h2>Structure{note}</h2>",
            "<p>Arrows go from a frame to those that are predicted from it.</p>",
            _image("structure", "wide"),
            "<h2>Frames</h2>",
            _image("frames", "wide"),
            *self._pictures(),
            "<h2>Table</h2>",
            self._table(),
            "</body></html>\n",
        ]
        return "\n".join(parts)

    def _facts(self) -> str:
        first, result = self._first, self._result
        n_bytes = len(result.stream) - result.trailer_bytes
        side = block_side(first.planes[0].shape)
        kinds = {kind: sum(f.kind == kind for f in self._frames) for kind in KIND_COLOURS}
        planes = zip(self._planes, result.plane_psnr_db, strict=True)
        facts = {
            "video": f"{len(self._frames)} frames of {first.width} x {first.height}, "
            f"{first.data_type}, {first.bitdepth} bits",
            "frames": ", ".join(f"{n} {kind}" for kind, n in kinds.items() if n),
            "stream": f"{n_bytes} bytes, {result.bits_per_pixel:.4f} bits per pixel",
            "trailer": f"{result.trailer_bytes} bytes",
            "PSNR of all samples": f"{result.psnr_db:.2f} dB",
            "PSNR, mean of frames": ", ".join(f"{plane} {psnr:.2f} dB" for plane, psnr in planes),
            "loss": f"{1000 * result.mse:.4f}e-3 + lambda {result.lmbda:.3g} x "
            f"{result.bits_per_pixel:.4f} bits per pixel = {1000 * result.loss:.4f}e-3",
            "time": f"{result.cpu_seconds:.1f} CPU seconds, "
            f"{result.cpu_seconds / len(self._frames):.1f} per frame",
            "figures": "all samples" if side == 1 else f"means of {side} x {side} samples",
        }
        if first.data_type != "rgb":
            facts["colours"] = "as RGB by BT.709, full range"
        rows = (
            f"<tr><th>{name}</th><td>{html.escape(value)}</td></tr>"
            for name, value in facts.items()
        )
        return _rows("facts", rows)

    def _pictures(self) -> list[str]:
        parts = ["<h2>Pictures</h2>"]
        if any(self._frames[index].kind != "I" for index in self._chosen):
            parts += [f"<p>{_MOTION}</p>", _image("wheel")]
        for index, reason in self._chosen.items():
            frame = self._frames[index]
            origin = " from " + " and ".join(map(str, frame.references)) if frame.references else ""
            title = html.escape(f"Frame {index}: {frame.kind}{origin}; {reason}")
            parts += [f"<h3>{title}</h3>", _image(_name(index))]
        return parts

    def _table(self) -> str:
        names = [part.replace("_", "<br>") + "s" for part in PARTS]
        psnr = [f"PSNR<br>{plane}" for plane in self._planes]
        predicted = [f"prediction<br>{plane}" for plane in self._planes]
        heads = [
            "frame", "type", "references", "level", "preset", "lambda<br>/ 1e-3", "bytes", *names,
            *psnr, "loss<br>/ 1e-3", "alpha", "beta", *predicted, "global<br>flow", "CPU s",
        ]  # fmt: skip
        head = "<tr>" + "".join(f"<th>{name}</th>" for name in heads) + "</tr>"
        body = (f"<tr>{_cells(frame)}</tr>" for frame in self._frames)
        sums = {part: sum(getattr(f, f"{part}_bytes") for f in self._frames) for part in PARTS}
        sums["header"] += self._header_bytes
        sizes = [sum(sums.values()), *sums.values()]
        total = (
            f'<tr><th colspan="6">all, with {self._header_bytes} bytes of the video</th>'
            + "".join(f"<td>{size}</td>" for size in sizes)
            + f'<td colspan="{len(heads) - 6 - len(sizes)}"></td></tr>'
        )
        return f'<div class="wide">{_rows("frames", [head, *body, total])}</div>'


def _rows(kind: str, rows: Iterable[str]) -> str:
    lines = "\n".join(rows)
    return f'<table class="{kind}">\n{lines}\n</table>'


def _image(name: str, kind: str = "picture") -> str:
    return f'<p class="{kind}"><img src="{name}.png" alt="{name}"></p>'


def _cells(frame: FrameReport) -> str:
    """Cells of the row of a frame, in the order of the heads."""
    prediction = ("", "", "")
    if frame.prediction_psnr is not None:
        y, u, v = (f"{psnr:.2f}" for psnr in frame.prediction_psnr)
        prediction = (y, u, v)
    flows = zip(frame.global_flow[::2], frame.global_flow[1::2], strict=True)
    cells = [
        " ".join(map(str, frame.references)),
        str(frame.level),
        html.escape(frame.preset),
        f"{1000 * frame.lmbda:.4g}",
        str(frame.n_bytes),
        *(str(getattr(frame, f"{part}_bytes")) for part in PARTS),
        *(f"{psnr:.2f}" for psnr in frame.psnr),
        f"{1000 * frame.loss:.4f}",
        "" if frame.alpha is None else f"{frame.alpha:.3f}",
        "" if frame.beta is None else f"{frame.beta:.3f}",
        *prediction,
        " ".join(f"({x}, {y})" for x, y in flows),
        f"{frame.cpu_seconds:.1f}",
    ]
    kind = f'<td style="background:{KIND_COLOURS[frame.kind]};color:white">{frame.kind}</td>'
    return f"<td>{frame.index}</td>{kind}" + "".join(f"<td>{cell}</td>" for cell in cells)
