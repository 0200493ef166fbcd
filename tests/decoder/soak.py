# SPDX-License-Identifier: BSD-3-Clause
"""Decode for a long time from many threads and processes; digests and memory must stay the same.

``python tests/decoder/soak.py [FILE ...] [--decodes 2000] [--processes 2] [--threads 8]``

Without files: examples, the project's videos of 5.0 and its streams of 4.x, all outside vectors
that are found, and broken copies of some, whose error must stay the same as well. Of videos all
frames are decoded. After every stream has been decoded once, memory is looked at between rounds of
100 decodes, when no thread decodes. Two figures are compared with those after the first round:

- *live*: bytes that were allocated and not freed, from the C library. Python takes all its memory
  from there as well (``PYTHONMALLOC=malloc``), and threads keep no freed pieces for themselves. It
  may grow by 100 kB: counters, caches of exceptions and the like. In a full run a leak of 110 bytes
  per decode would be noticed.
- *resident*: what the process occupies. Arrays go back to the system as soon as they are freed, so
  that only holes between small objects remain. It may grow by 4 MB.

The C library is told so by ``GLIBC_TUNABLES``; with its usual settings every thread has a heap of
its own, whose holes make the resident size waver by some tens of MB whatever the program does.
Where the C library does not tell the first one (Linux does), only the second one is compared.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numchic

# The helpers of the tests lie one folder up; pytest knows that by itself.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from vectors import sound_streams

ROUND = 100
ALLOCATOR = {
    "PYTHONMALLOC": "malloc",
    "GLIBC_TUNABLES": "glibc.malloc.tcache_count=0:glibc.malloc.mmap_threshold=65536",
}
MAX_LIVE_GROWTH = 100_000
MAX_RESIDENT_GROWTH = 4_000_000


class Memory(NamedTuple):
    """Bytes; ``live`` is -1 where it is not known."""

    live: int
    resident: int


_MALLINFO2 = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"


class _MallInfo2(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in _MALLINFO2.split()]


def memory() -> Memory:
    """Look at this process, whose other threads do nothing."""
    gc.collect()
    library = ctypes.CDLL(None)
    live = -1
    if hasattr(library, "mallinfo2"):
        library.malloc_trim(0)
        library.mallinfo2.restype = _MallInfo2
        info = library.mallinfo2()
        live = info.uordblks + info.hblkhd
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return Memory(live, pages * os.sysconf("SC_PAGE_SIZE"))


def outcome(data: bytes, threads: int) -> str:
    """Digest of the samples of all frames; the error, if there is one, takes its place."""
    digest = hashlib.sha256()
    try:
        for picture in numchic.decode_frames(data, threads=threads):
            digest.update(picture.to_bytes())
    except numchic.NumchicError as error:
        return repr(error)
    return digest.hexdigest()


def streams(files: Sequence[Path]) -> list[bytes]:
    """Read the streams, and break some of them."""
    sound = [path.read_bytes() for path in files]
    return sound + [data[: len(data) * 2 // 3] for data in sound[::4]]


def work(files: Sequence[Path], n_decodes: int, n_threads: int) -> dict[str, Any]:
    """Do the decodes of one process; outcomes, number of deviations and memory after rounds."""
    sources = streams(files)
    expected = [outcome(data, 1) for data in sources]

    def agrees(i: int) -> bool:
        which = i % len(sources)
        return outcome(sources[which], 1 + i % 3) == expected[which]

    samples, wrong = [], 0
    with ThreadPoolExecutor(n_threads) as pool:
        # What is kept for every kind of stream is there before memory is looked at.
        wrong += list(pool.map(agrees, range(len(sources)))).count(False)
        for first in range(0, n_decodes, ROUND):
            last = min(first + ROUND, n_decodes)
            wrong += list(pool.map(agrees, range(first, last))).count(False)
            samples.append(memory())
    return {"outcomes": expected, "wrong": wrong, "memory": samples}


def start(files: Sequence[Path], n_decodes: int, n_threads: int) -> subprocess.Popen[str]:
    """Start a process that prints what :func:`work` returns."""
    counts = ["--decodes", str(n_decodes), "--threads", str(n_threads)]
    return subprocess.Popen(
        [sys.executable, __file__, "--worker", *counts, *map(str, files)],
        env=os.environ | ALLOCATOR,
        stdout=subprocess.PIPE,
        text=True,
    )


def report(results: Sequence[dict[str, Any]]) -> bool:
    """Print the figures; whether they are good."""
    good = True
    for i, result in enumerate(results):
        same = result["outcomes"] == results[0]["outcomes"]
        print(f"process {i}: {result['wrong']} deviations, outcomes as in process 0: {same}")
        good = good and same and not result["wrong"]
        samples = [Memory(*sample) for sample in result["memory"]]
        first = samples[0]
        for name, allowed in (("live", MAX_LIVE_GROWTH), ("resident", MAX_RESIDENT_GROWTH)):
            values = [getattr(sample, name) for sample in samples]
            start_value = getattr(first, name)
            if start_value < 0:
                print(f"  {name}: not known")
                continue
            growth = values[-1] - start_value
            print(
                f"  {name}: {start_value / 1e6:.3f} MB after the first round, at most "
                f"{max(values) / 1e6:.3f} MB, {values[-1] / 1e6:.3f} MB at the end, "
                f"growth {growth} bytes (allowed {allowed})"
            )
            good = good and growth <= allowed
    return good


def main() -> int:
    parser = argparse.ArgumentParser(description="decode for a long time")
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--decodes", type=int, default=2000, help="of all processes")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--threads", type=int, default=8, help="per process")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        json.dump(work(options.files, options.decodes, options.threads), sys.stdout)
        return 0
    files = options.files or sound_streams()
    share = options.decodes // options.processes
    print(f"{len(files)} files, {options.processes} processes of {options.threads} threads")
    children = [start(files, share, options.threads) for _ in range(options.processes)]
    outputs = [child.communicate()[0] for child in children]
    if any(child.returncode for child in children):
        return 1
    good = report([json.loads(output) for output in outputs])
    print(f"{share * options.processes} decodes: {'good' if good else 'NOT GOOD'}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
