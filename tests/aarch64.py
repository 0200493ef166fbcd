# SPDX-License-Identifier: BSD-3-Clause
"""Decode streams with the kernels for aarch64, emulated, and compare the digests of every stage.

``python tests/aarch64.py [FILE ...] [--cache FOLDER]``

The library for linux-aarch64 is built, and one for this machine. ``stage_digests.py`` runs with the
latter, and with the former under QEMU in a Python of Debian. The exit status is 0 if all digests
are the same. Without files some streams of all generations, of which those that are not part of the
project are left out if they are not found. Emulated code is slow: that takes two minutes.

QEMU, Python and the libraries it needs come from the system's package sources, NumPy and Pillow
from pip's; all are kept in ``--cache`` (``build/aarch64``), and nothing is installed. Needs Debian
(Ubuntu has its packages for other processors elsewhere), a C compiler and ``pip install -e
".[wheels]"``.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import stage_digests
from native_packages import ROOT, build, make, missing
from vectors import shared_folder

OWN = (
    "examples/rings",
    "conformance/vectors/stills/arm-63-bits",
    "conformance/vectors/stills/arm-beyond-float64-hidden-2",
    "conformance/vectors/stills/format-yuv420-10b",
    "conformance/vectors/stills/format-yuv444-16b",
    "conformance/vectors/trained/trained-common-randomness",
    "conformance/vectors/trained/trained-half-bicubic",
    "conformance/vectors/trained/trained-hop",
    "conformance/vectors/trained/trained-vhop",
    "conformance/vectors/trained-videos/trained-video-yuv444-10-odd-size",
    "conformance/vectors/videos/flow-mixed",
    "conformance/vectors/videos/structure-5-intra-0-p-1-2-3-4",
    "conformance/vectors/videos/warp-8",
    "conformance/vectors/v4/4.0-b",
    "conformance/vectors/v4/4.0-context-32-hidden-2",
    "conformance/vectors/v4/4.0-far-flow",
    "conformance/vectors/v4/4.1-b",
    "conformance/vectors/v4/4.1-context-32-hidden-2",
    "conformance/vectors/v4/4.1-taps-12",
    "conformance/vectors/v4/4.2-b",
    "conformance/vectors/v4/4.2-blocks-adaptive-16",
    "conformance/vectors/v4/4.2-motion-blocks-8",
    "conformance/vectors/v4/4.2-noise-in-video",
    "conformance/vectors/v4-malformed/4.2-cut-in-payload",
)
SHARED = (
    "v4.1/kodim14",
    "v4-synthetic/s100",
    "v5/official/kodim14",
    "v5/video/trained-ipb-warp8_224x128",
    "v5-synthetic/k2_ifce_f32",
    "v5-synthetic/v_ra420_k8",
    "v5-video-trained/carphone-ld-5",
)

PACKAGES = ("python3-minimal", "libpython3-stdlib", "libstdc++6")
TAGS = ("manylinux_2_17_aarch64", "manylinux_2_27_aarch64", "manylinux_2_28_aarch64")

APT_SETTINGS = """\
APT::Architecture "{host}";
APT::Architectures {{ "{host}"; "arm64"; }};
APT::Install-Recommends "false";
APT::Sandbox::User "";
Dir::State "{folder}/state";
Dir::State::status "{folder}/status";
Dir::Cache "{folder}/cache";
"""

Digests = dict[str, dict[str, str]]


class Machine(NamedTuple):
    """What an emulated machine consists of."""

    emulator: Path
    root: Path
    python: Path
    modules: Path

    @property
    def command(self) -> list[str | Path]:
        return [self.emulator, "-L", self.root, self.python]


def prepare(cache: Path) -> Machine:
    """Fetch what the machine consists of, unless it is in the cache."""
    if not cache.exists():
        cache.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache.parent) as folder:
            made = Path(folder, "machine")
            fetch_system(made, Path(folder, "apt"))
            fetch_modules(made)
            made.rename(cache)
    return machine_in(cache)


def machine_in(folder: Path) -> Machine:
    root = folder / "root"
    (python,) = root.glob("usr/bin/python3.[0-9]*")
    return Machine(folder / "emulator", root, python, folder / "modules")


def fetch_system(made: Path, apt: Path) -> None:
    """Unpack the emulator, and Python with all that it needs."""
    host = run("dpkg", "--print-architecture").strip()
    for name in ("state/lists/partial", "cache/archives/partial"):
        (apt / name).mkdir(parents=True)
    (apt / "status").touch()  # nothing is installed: all that is needed is fetched
    settings = apt / "apt.conf"
    settings.write_text(APT_SETTINGS.format(host=host, folder=apt))
    variables = {"APT_CONFIG": str(settings)}
    run("apt-get", "update", variables=variables)
    packages = ["qemu-user-static", *(f"{name}:arm64" for name in PACKAGES)]
    run("apt-get", "install", "--yes", "--download-only", *packages, variables=variables)
    (made / "root").mkdir(parents=True)
    for package in sorted((apt / "cache" / "archives").glob("*.deb")):
        if package.name.startswith("qemu-user"):
            run("dpkg-deb", "--extract", package, apt / "qemu")
        elif not package.stem.endswith(f"_{host}"):
            run("dpkg-deb", "--extract", package, made / "root")
    # It is called qemu-aarch64-static or qemu-aarch64; another one is for the other order of bytes.
    shutil.copy(min((apt / "qemu").glob("usr/bin/qemu-aarch64*")), made / "emulator")
    if not (made / "root" / "lib").exists():  # where packages have all below usr
        (made / "root" / "lib").symlink_to("usr/lib")


def fetch_modules(made: Path) -> None:
    """Fetch NumPy and Pillow for the Python that was unpacked."""
    version = machine_in(made).python.name.removeprefix("python")
    tags = [f"--platform={tag}" for tag in TAGS]
    run(
        sys.executable, "-m", "pip", "install", "--quiet", "--only-binary=:all:", *tags,
        f"--python-version={version}", "--target", made / "modules", "numpy", "pillow",
    )  # fmt: skip


def run(*command: str | Path, variables: Mapping[str, str] | None = None) -> str:
    """Give the output of a command; a failure of it ends the program."""
    try:
        return subprocess.run(
            command, env=os.environ | (variables or {}), check=True, capture_output=True, text=True
        ).stdout
    except FileNotFoundError:
        sys.exit(f"there is no {command[0]}")
    except subprocess.CalledProcessError as error:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{error.stderr}")


def build_packages(folder: Path) -> tuple[Path, Path]:
    """Make the packages with a library for this machine, and with one for the other."""
    own, other = folder / "own", folder / "other"
    make(own)
    build(own, folder, "linux-aarch64")
    shutil.copytree(own, other)
    kernels = other / "numchic_bitstream" / "kernels"
    shutil.copytree(folder / "linux-aarch64", kernels, dirs_exist_ok=True)
    return own, other


def digests(python: Sequence[str | Path], path: Sequence[Path], files: Sequence[Path]) -> Digests:
    """Digests of all stages of streams, by a Python with these folders."""
    variables = {
        "PYTHONPATH": os.pathsep.join(map(str, [*path, ROOT / "conformance"])),
        "PYTHONDONTWRITEBYTECODE": "1",
        "NUMCHIC_KERNELS": "native",
        "OPENBLAS_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [*python, stage_digests.__file__, *files],
        env=os.environ | variables, stdout=subprocess.PIPE, check=True,
    )  # fmt: skip
    found: Digests = json.loads(done.stdout)
    return found


def compare(files: Sequence[Path], machine: Machine) -> int:
    """Print what differs; number of differences."""
    with tempfile.TemporaryDirectory() as folder:
        own, other = build_packages(Path(folder))
        expected = digests([sys.executable], [own], files)
        begin = time.monotonic()
        found = digests(machine.command, [other, machine.modules], files)
    seconds = time.monotonic() - begin
    differences = [
        f"{file}: {stage}"
        for file, known in expected.items()
        for stage in sorted(known.keys() | found[file].keys())
        if known.get(stage) != found[file].get(stage)
    ]
    print("\n".join(differences), end="\n" if differences else "")
    n_digests = sum(map(len, expected.values()))
    n_payloads = sum(name.endswith("latent payload") for d in expected.values() for name in d)
    print(
        f"{len(files)} streams, {n_digests} digests, {n_payloads} of them of encoded latents, "
        f"{len(differences)} differences ({seconds:.0f} s)"
    )
    return len(differences)


def default_files() -> list[Path]:
    files = [ROOT / f"{name}.cool" for name in OWN]
    if shared := shared_folder():
        files += [shared / "vectors" / f"{name}.cool" for name in SHARED]
    return files


def main() -> int:
    parser = argparse.ArgumentParser(description="decode with the kernels for aarch64")
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--cache", type=Path, default=ROOT / "build" / "aarch64")
    options = parser.parse_args()
    if lacking := missing("apt-get", "dpkg-deb"):
        parser.error(f"not installed: {lacking}")
    machine = prepare(options.cache.resolve())
    print(run(*machine.command, "-c", "import os, sys; print(os.uname().machine, sys.version)"))
    return 1 if compare(options.files or default_files(), machine) else 0


if __name__ == "__main__":
    sys.exit(main())
