# SPDX-License-Identifier: BSD-3-Clause
"""Conformance vectors, suites and their runner: ``numchic conformance``, or from Python.

>>> from numchic_conformance import load_suites, run_vectors, select
>>> vectors = select(load_suites()[0].vectors, Level.CORE, ["arm-*"])     # doctest: +SKIP
>>> [result.outcome for result in run_vectors(vectors)]                    # doctest: +SKIP
"""

from numchic_conformance.command import CommandDecoder
from numchic_conformance.compare import Divergence
from numchic_conformance.library import load_suites
from numchic_conformance.manifest import (
    Bounds,
    Expect,
    ExpectedError,
    Level,
    PictureFormat,
    PlaneSum,
    Suite,
    Vector,
    load_suite,
    save_suite,
    select,
)
from numchic_conformance.outcome import Outcome, Result
from numchic_conformance.report import Report, write_report
from numchic_conformance.runner import run_vectors

__all__ = [
    "Bounds",
    "CommandDecoder",
    "Divergence",
    "Expect",
    "ExpectedError",
    "Level",
    "Outcome",
    "PictureFormat",
    "PlaneSum",
    "Report",
    "Result",
    "Suite",
    "Vector",
    "load_suite",
    "load_suites",
    "run_vectors",
    "save_suite",
    "select",
    "write_report",
]
