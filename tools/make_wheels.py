# SPDX-License-Identifier: BSD-3-Clause
"""``python tools/make_wheels.py [--output dist] [TARGET ...]``: what is published.

Makes, on one machine with Linux, from what is committed: the source distribution; of that the pure
wheel; and of that the wheels with a library of kernels for the targets, by default all. Each is
checked without running it (see :mod:`numchic_build.verify`), and only if nothing is wrong they are
put into the output folder. The same commit and the same versions of all that takes part give the
same files.

Needs ``pip install -e ".[wheels]"``, of which ziglang, the linker for all platforms, has 400 MB.
"""

from __future__ import annotations

import argparse
import gzip
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from importlib.metadata import version
from pathlib import Path

from pyproject_hooks import BuildBackendHookCaller, quiet_subprocess_runner

from numchic_build import wheel
from numchic_build.targets import TARGETS
from numchic_build.verify import find_problems

_ROOT = Path(__file__).resolve().parents[1]
_REASON = "the package for all platforms has none"  # for users who want native kernels
_TAKE_PART = ("ziglang", "numba", "llvmlite", "setuptools", "wheel")


def main() -> None:
    """Make and check what the command line asks for."""
    parser = argparse.ArgumentParser(description="make the distributions that are published")
    parser.add_argument("--output", type=Path, default=Path("dist"))
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    options = parser.parse_args()
    targets = options.targets or list(TARGETS)
    if unknown := set(targets) - set(TARGETS):
        parser.error(f"there is no target {', '.join(sorted(unknown))}")
    if _git("status", "--porcelain", "--untracked-files=no"):
        parser.error("something is not committed")
    os.environ["SOURCE_DATE_EPOCH"] = _git("log", "-1", "--format=%ct").decode().strip()
    os.umask(0o022)  # modes of files are part of an archive
    print(", ".join(f"{name} {version(name)}" for name in _TAKE_PART), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder, "made")
        made.mkdir()
        _make(Path(folder), made, targets)
        problems = list(find_problems(made, targets))
        if problems:
            sys.exit("\n".join(problems))
        options.output.mkdir(parents=True, exist_ok=True)
        for path in sorted(made.iterdir()):
            shutil.copy(path, options.output)
            print(f"{path.stat().st_size:9}  {path.name}")


def _make(work: Path, output: Path, targets: list[str]) -> None:
    """Put all distributions into a folder."""
    with tarfile.open(fileobj=io.BytesIO(_git("archive", "HEAD"))) as archive:
        archive.extractall(work / "commit", filter="data")
    backend = _backend(work / "commit", "build_backend", "tools")
    sdist = work / backend.build_sdist(str(work))
    _pack_again(sdist, output / sdist.name)
    with tarfile.open(sdist) as archive:
        archive.extractall(work, filter="data")
    source = work / sdist.name.removesuffix(".tar.gz")
    # Not with our backend, which builds for this machine.
    plain = _backend(source, "setuptools.build_meta").build_wheel(str(work))
    content = wheel.unpack(work / plain, work / "content")
    wheel.pack(content, output, numba=wheel.PUBLISHED, reason=_REASON)
    subprocess.run(
        [sys.executable, "-m", "numchic_build", content, work / "libraries", *targets],
        cwd=source / "tools", check=True,
    )  # fmt: skip
    for name in targets:
        target = TARGETS[name]
        library = work / "libraries" / name / f"library{target.suffix}"
        wheel.pack(content, output, numba=wheel.PUBLISHED, library=library, tag=target.tag)


def _git(*arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], cwd=_ROOT, check=True, stdout=subprocess.PIPE).stdout


def _backend(source: Path, name: str, *path: str) -> BuildBackendHookCaller:
    return BuildBackendHookCaller(
        str(source), name, backend_path=path or None, runner=quiet_subprocess_runner
    )


def _pack_again(sdist: Path, output: Path) -> None:
    """Write a source distribution without what depends on when and by whom it was made."""
    moment = int(os.environ["SOURCE_DATE_EPOCH"])
    with (
        tarfile.open(sdist) as old,
        gzip.GzipFile(output, "wb", mtime=moment) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.PAX_FORMAT) as new,
    ):
        for member in old.getmembers():
            member.mtime, member.uid, member.gid, member.uname, member.gname = moment, 0, 0, "", ""
            member.pax_headers = {}
            new.addfile(member, old.extractfile(member) if member.isfile() else None)


if __name__ == "__main__":
    main()
