# SPDX-License-Identifier: BSD-3-Clause
"""What importing and decoding may and may not do to the process of a user."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "rings.cool"
FRAMEWORKS = {"torch", "tensorflow", "jax", "numchic_trainer"}


def modules_after(code: str) -> set[str]:
    """Top-level modules of a fresh interpreter that ran ``code`` without printing anything."""
    path = [p for p in sys.path if p]
    script = f"import sys; sys.path[:0] = {path!r}\n{code}\nsys.stderr.write(' '.join(sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert result.stdout == ""
    return {name.split(".")[0] for name in result.stderr.split()}


def test_import_is_light() -> None:
    modules = modules_after("import numchic")
    assert not modules & (FRAMEWORKS | {"numba", "PIL", "scipy", "click"})


def test_the_command_starts_before_numpy() -> None:
    """So that it can tell NumPy's threads not to spin; what a user has said of them stays."""
    assert not modules_after("import numchic_start") & {"numpy", "numchic", "click"}
    start = f"sys.argv = ['numchic', 'info', {str(EXAMPLE)!r}]\nimport contextlib, io, os\n"
    start += "import numchic_start\n"
    end = "\nwith contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n"
    end += "    numchic_start.run()\n"
    name = "os.environ['OPENBLAS_THREAD_TIMEOUT']"
    for before, value in ((f"{name} = '9'", "9"), ("os.environ.pop(name, None)", "4")):
        code = f"{start}name = 'OPENBLAS_THREAD_TIMEOUT'\n{before}{end}assert {name} == {value!r}"
        assert "numpy" in modules_after(code)


def test_commands_import_what_they_need() -> None:
    for command in ("['info', {!r}]", "['decode', {!r}, os.devnull, '--format', 'png']"):
        code = "import contextlib, io, os\nfrom numchic.command.cli import main\n"
        code += "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n"
        code += f"    main({command.format(str(EXAMPLE))})"
        modules = modules_after(code)
        assert not modules & (FRAMEWORKS | {"PIL"})
        if "info" in command:
            unused = {"email", "zipfile", "multiprocessing", "concurrent", "secrets", "json"}
            assert not modules & unused


def test_info_does_not_import_numba() -> None:
    assert "numba" not in modules_after(f"import numchic; numchic.read_info({str(EXAMPLE)!r})")


def test_decoding_imports_no_framework() -> None:
    modules = modules_after(f"import numchic; numchic.decode({str(EXAMPLE)!r})")
    assert "numba" in modules
    assert not modules & FRAMEWORKS
