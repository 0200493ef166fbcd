# SPDX-License-Identifier: BSD-3-Clause
"""Write what a study shows: figures, page and summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from numchic.files.images import write_file
from numchic_trainer.study.content import make_content
from numchic_trainer.study.crops import Sample
from numchic_trainer.study.page import page
from numchic_trainer.study.point import Point
from numchic_trainer.study.summary import summary


def write_output(
    folder: Path,
    points: Sequence[Point],
    samples: Sequence[Sample],
    remarks: Sequence[str],
    facts: Mapping[str, str],
    reference: str | None = None,
) -> list[Path]:
    """Draw and tabulate a study.

    Parameters
    ----------
    folder : Path
        Folder of the study, in which there is already ``results.csv``.
    points : sequence of Point
        Pictures and curves are shown in their order.
    samples : sequence of Sample
        Pictures of which a part is shown, source and decoded side by side.
    remarks : sequence of str
        Sentences that say what was left out, and why.
    facts : mapping
        Name to text, for the head of the page: versions, machine, settings.
    reference : str, optional
        Curve that the others are compared with; otherwise
        :func:`numchic_trainer.study.bd.choose_reference` chooses.

    Returns
    -------
    list of Path
        The files: ``figures/*``, ``summary.md``, ``index.html``.
    """
    content = make_content(points, samples, remarks, facts, reference)
    files = {f"figures/{drawing.name}": drawing.data for drawing in content.drawings()}
    files["summary.md"] = summary(content).encode()
    files["index.html"] = page(content).encode()
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        write_file(folder / name, data)
    return [folder / name for name in files]
