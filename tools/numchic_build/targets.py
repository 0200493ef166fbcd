# SPDX-License-Identifier: BSD-3-Clause
"""Platforms for which a library can be built."""

from __future__ import annotations

import platform
import sys
from typing import NamedTuple


class Code(NamedTuple):
    """One kind of processor: LLVM's name and features, and what it adds to names of entries."""

    cpu: str
    features: str = ""
    suffix: str = ""


class Target(NamedTuple):
    """A platform.

    Parameters
    ----------
    triple : str
        LLVM's name of it.
    codes : tuple of Code
    suffix : str
        Of the file of a library.
    zig : str
        Name of it for ``zig cc``.
    tag : str
        Of wheels for it.
    flags : tuple of str
        For the linker.
    """

    triple: str
    codes: tuple[Code, ...]
    suffix: str = ".so"
    zig: str = ""
    tag: str = ""
    flags: tuple[str, ...] = ("-shared", "-fPIC", "-nostdlib")


_X86 = tuple(Code(f"x86-64-v{level}", "", f"_v{level}") for level in (2, 3, 4))
_ARM = (Code("generic", "+neon"),)
_APPLE = (Code("apple-m1"),)
# What is loaded on macOS has to name the library of the system, and has a name of its own, which
# would be that of a folder of the build.
_MACOS_FLAGS = ("-shared", "-fPIC", "-Wl,-install_name,@rpath/library.dylib")

TARGETS = {
    "linux-x86_64": Target(
        "x86_64-unknown-linux-gnu", _X86, ".so", "x86_64-linux-gnu.2.17", "manylinux_2_17_x86_64"
    ),
    "linux-aarch64": Target(
        "aarch64-unknown-linux-gnu", _ARM, ".so", "aarch64-linux-gnu.2.17", "manylinux_2_17_aarch64"
    ),
    "musl-x86_64": Target(
        "x86_64-unknown-linux-musl", _X86, ".so", "x86_64-linux-musl", "musllinux_1_2_x86_64"
    ),
    "musl-aarch64": Target(
        "aarch64-unknown-linux-musl", _ARM, ".so", "aarch64-linux-musl", "musllinux_1_2_aarch64"
    ),
    "macos-x86_64": Target(
        "x86_64-apple-macosx11.0.0",
        _X86[:2],  # macOS hides AVX-512 until it is used
        ".dylib",
        "x86_64-macos.11.0",
        "macosx_11_0_x86_64",
        _MACOS_FLAGS,
    ),
    "macos-arm64": Target(
        "arm64-apple-macosx11.0.0",
        _APPLE,
        ".dylib",
        "aarch64-macos.11.0",
        "macosx_11_0_arm64",
        _MACOS_FLAGS,
    ),
    "windows-x86_64": Target(
        "x86_64-w64-windows-gnu", _X86, ".dll", "x86_64-windows-gnu", "win_amd64"
    ),
    "windows-arm64": Target(
        "aarch64-w64-windows-gnu", _ARM, ".dll", "aarch64-windows-gnu", "win_arm64"
    ),
}
"""Platforms with wheels of their own."""

OTHERS = {
    # A module without imports. Whoever runs it puts arrays into its memory, from __heap_base on.
    "wasm32": Target(
        "wasm32-unknown-unknown",
        (Code("generic", "+simd128,+bulk-memory,+nontrapping-fptoint,+sign-ext,+mutable-globals"),),
        ".wasm",
        "wasm32-freestanding",
        flags=("-nostdlib", "-Wl,--no-entry,--export-dynamic,--export=__heap_base"),
    ),
}
"""Platforms for which a library is built and tested, but not published."""

_MARKED = ("x86_64", "AMD64", "aarch64", "arm64", "ARM64")
MARKER = (
    'sys_platform not in "linux darwin win32" or ('
    + " and ".join(f'platform_machine != "{name}"' for name in _MARKED)
    + ")"
)
"""Where none of these is installed."""

_SYSTEMS = {"linux": "linux", "darwin": "macos", "win32": "windows"}
_MACHINES = {"AMD64": "x86_64", "ARM64": "arm64"}


def this_machine(triple: str) -> Target:
    """Target of the machine that builds.

    Parameters
    ----------
    triple : str
        LLVM's name of it, for one that is not in the table.
    """
    machine = _MACHINES.get(platform.machine(), platform.machine())
    known = TARGETS.get(f"{_SYSTEMS.get(sys.platform)}-{machine}")
    return known or Target(triple, (Code("generic"),))
