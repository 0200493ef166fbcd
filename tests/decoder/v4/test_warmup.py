# SPDX-License-Identifier: BSD-3-Clause
"""The streams from which the kernels of 4.x are compiled are those of the writer."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from numchic.v4.warmup import STREAMS
from numchic_bitstream.v4 import read_stream
from numchic_conformance.synthetic.v4.draw import Draw
from numchic_conformance.synthetic.v4.headers import Frame, write_frame, write_gop
from numchic_conformance.synthetic.v4.latents import encode_plane
from numchic_conformance.synthetic.v4.streams import (
    N_OUTPUTS,
    arm_layers,
    drawn_part,
    write_numbers,
)
from strategies import MODE


def zero_part(kind: str, k: int, generation: str) -> tuple[bytes, Frame]:
    """Payload and header of a part whose parameters and latents are all zero."""
    n_out = N_OUTPUTS[kind][k]
    p = drawn_part(
        Draw("warm-up"), kind, k, generation,
        arm=(8, 1), ups=(1, 4, 1, 1), syn=[(n_out, 3, 0, 1), (n_out, 1, 0, 0)],
        latent=[1, 1], noise=[0, 0], blk=-1, eg=dict.fromkeys(("arm", "ups", "syn"), (0, 0)),
    )  # fmt: skip
    numbers = {f"{m}{i}": [0] * n for m, counts in p.counts().items() for i, n in enumerate(counts)}
    payload = write_numbers(numbers, p)
    grids = [np.zeros((4, 4), np.int64), np.zeros((2, 2), np.int64)]
    maps = [np.ones(grid.shape, np.int64) for grid in grids]
    layers = arm_layers(p, numbers)
    planes = [
        encode_plane(grid, layers, p.blk, some, None)
        for grid, some in zip(grids, maps, strict=True)
    ]
    p.len_lat = [len(plane) for plane in planes]
    return payload + b"".join(planes), Frame(0, kind, [p])


def warm_up_stream(generation: str, data_type: str, depth: int) -> bytes:
    """An I and a P frame of 4 x 4."""
    data = write_gop(4, 4, data_type, depth)
    for index, kind in enumerate("IP"):
        frame = Frame(index, kind, [], flow=[(0, 0)] * index)
        for k in range(len(N_OUTPUTS[kind])):
            payload, part = zero_part(kind, k, generation)
            frame.parts += part.parts
            frame.payload += payload
        data += write_frame(frame, generation)
    return data


@pytest.mark.parametrize("i", range(2))
def test_streams(i: int) -> None:
    generation, data_type, depth = (("4.2", "yuv420", 8), ("4.0", "yuv444", 10))[i]
    assert STREAMS[i] == warm_up_stream(generation, data_type, depth)
    stream = read_stream(STREAMS[i])
    assert (stream.generation, len(stream.frames)) == (generation, 2)


SUITE = Path(__file__).resolve().parents[3] / "conformance" / "vectors" / "v4"
NAMES = ("4.2-noise-everywhere", "4.2-blocks-8", "4.2-b", "4.0-b", "4.2-rgb-16b", "4.1-copies")
SCRIPT = """
import sys
import numchic
from numba.core import event
from numchic.warmup import warm_up

warm_up()
with event.install_recorder("numba:compile") as recorder:
    for path in sys.argv[1:]:
        list(numchic.decode_frames(path, threads=1))
print({e.data["dispatcher"].py_func.__name__ for _, e in recorder.buffer})
sys.exit(bool(recorder.buffer))
"""


@pytest.mark.skipif(MODE != "jit", reason="nothing is compiled")
def test_nothing_is_left_to_compile() -> None:
    paths = [str(SUITE / f"{name}.cool") for name in NAMES]
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT, *paths],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
