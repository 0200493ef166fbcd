# SPDX-License-Identifier: BSD-3-Clause
"""``python tests/wasm/record.py FILE FOLDER ROUNDS``: record the kernel calls of decoding a stream.

Has to run with native kernels. Two files come out. ``calls`` has a line of JSON for every call:

``symbol``, ``slots``
    Name of the function and what its slots held before the call, as decimal numbers.
``results``
    What the slots behind those of the arguments held after it.
``sizes``, ``offset``
    Bytes of every piece of memory that the call was given, and where they are in ``contents``:
    those of all pieces before the call, then those of all pieces after it.
``pointers``
    For every array its slot, the number of the piece it is in, and where it begins in it. Arrays
    that overlap are in one piece.
``ms``
    CPU time of the call, the least of ROUNDS.
"""

from __future__ import annotations

import ctypes
import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple
from unittest import mock

import numpy as np

import numchic
from numchic_bitstream.kernels import ENTRIES, native
from numchic_bitstream.kernels.signature import (
    Array,
    Fields,
    Scalar,
    Signature,
    Type,
    signatures,
    symbol,
)

Run = Callable[[int], None]


class Piece(NamedTuple):
    """A piece of memory."""

    address: int
    size: int

    def read(self) -> bytes:
        return ctypes.string_at(self.address, self.size)


class Recorder:
    """Writes what kernels are given and what they leave."""

    def __init__(self, calls: IO[str], contents: IO[bytes], rounds: int) -> None:
        self._calls, self._contents, self._rounds = calls, contents, rounds

    def recorded(self, name: str, run: Run) -> Run:
        """Give a function that is recorded when it is called."""
        signature = _signature(name)
        return lambda address: self._record(name, signature, run, address)

    def _record(self, name: str, signature: Signature, run: Run, address: int) -> None:
        kinds = list(_leaves(signature.arguments))
        n_arguments = sum(map(_slots_of, kinds))
        slots = (ctypes.c_int64 * (n_arguments + len(signature.results))).from_address(address)
        arrays = list(_arrays(kinds, slots[:]))
        pieces = _merge([piece for _, piece in arrays])
        before = [piece.read() for piece in pieces]
        call: dict[str, Any] = {
            "symbol": name,
            "slots": [str(number) for number in slots],
            "sizes": [piece.size for piece in pieces],
            "offset": self._contents.tell(),
            "pointers": [[slot, *_place(piece, pieces)] for slot, piece in arrays],
        }
        call["ms"] = min(_timed(run, address, pieces, before) for _ in range(self._rounds))
        call["results"] = [str(number) for number in slots[n_arguments:]]
        self._contents.writelines([*before, *(piece.read() for piece in pieces)])
        self._calls.write(f"{json.dumps(call)}\n")


def _signature(name: str) -> Signature:
    for kernel in ENTRIES:
        function = kernel.__wrapped__  # type: ignore[attr-defined]
        for i, signature in enumerate(signatures(function)):
            if symbol(function, i) == name:
                return signature
    raise KeyError(name)


def _leaves(kinds: Sequence[Type]) -> Iterator[Array | Scalar]:
    """Give fields in place of tuples."""
    for kind in kinds:
        if isinstance(kind, Fields):
            yield from _leaves(kind.items)
        else:
            yield kind


def _slots_of(kind: Array | Scalar) -> int:
    return 1 + kind.ndim if isinstance(kind, Array) else 1


def _arrays(kinds: Sequence[Array | Scalar], slots: Sequence[int]) -> Iterator[tuple[int, Piece]]:
    """Find the first slot of every array, and its memory."""
    slot = 0
    for kind in kinds:
        end = slot + _slots_of(kind)
        if isinstance(kind, Array):
            address, *shape = slots[slot:end]
            yield slot, Piece(address, math.prod(shape) * np.dtype(kind.dtype).itemsize)
        slot = end


def _merge(pieces: list[Piece]) -> list[Piece]:
    """Make one piece of those that overlap."""
    merged: list[Piece] = []
    for piece in sorted(pieces):
        if merged and piece.address < sum(merged[-1]):
            first, end = merged[-1].address, max(sum(merged[-1]), sum(piece))
            merged[-1] = Piece(first, end - first)
        else:
            merged.append(piece)
    return merged


def _place(piece: Piece, pieces: list[Piece]) -> tuple[int, int]:
    """Number of the piece that another one is in, and where."""
    for i, whole in enumerate(pieces):
        if whole.address <= piece.address and sum(piece) <= sum(whole):
            return i, piece.address - whole.address
    raise ValueError(piece)


def _timed(run: Run, slots: int, pieces: list[Piece], before: list[bytes]) -> float:
    for piece, content in zip(pieces, before, strict=True):
        ctypes.memmove(piece.address, content, piece.size)
    start = time.thread_time()
    run(slots)
    return (time.thread_time() - start) * 1000


def main() -> None:
    file, folder, rounds = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    with (folder / "calls").open("w") as calls, (folder / "contents").open("wb") as contents:
        recorder = Recorder(calls, contents, rounds)
        plain = native.Library.function

        def function(library: native.Library, name: str) -> Run:
            return recorder.recorded(name, plain(library, name))

        with mock.patch.object(native.Library, "function", function):
            for _ in numchic.decode_frames(file, threads=1):
                pass


if __name__ == "__main__":
    main()
