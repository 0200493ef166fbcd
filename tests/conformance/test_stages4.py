# SPDX-License-Identifier: BSD-3-Clause
"""The stages of the older generations: their order, and what there is of damaged streams."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import numchic
from numchic_bitstream import CorruptError
from numchic_conformance.stages import decode_stages

VECTORS = Path(__file__).resolve().parents[2] / "conformance" / "vectors" / "v4"


def read(name: str) -> bytes:
    return (VECTORS / f"{name}.cool").read_bytes()


def test_a_still() -> None:
    names = [name for name, _ in decode_stages(read("4.2-noise-everywhere"))]
    parameters = (
        "arm_weight",
        "arm_bias",
        "upsampling_weight",
        "synthesis_weight",
        "synthesis_bias",
    )
    assert names == [
        *(f"parameters.{name}" for name in parameters),
        *("latents.0", "latents.1", "latents.2", "dense", "synthesis"),
    ]


def test_a_video() -> None:
    data = read("4.1-b")
    found = dict(decode_stages(data))
    assert "frame0.prediction" not in found
    assert found["frame2.prediction"].shape == (3, 16, 24)
    coded = [0, 4, 2, 1, 3]
    for place, index in enumerate(coded):
        expected = numchic.decode(data, frame=index).to_bytes()
        assert found[f"frame{place}.samples"].tobytes() == expected


def test_a_damaged_latent_is_shown_as_far_as_it_goes() -> None:
    data = read("4.2-size-33x65")
    sound = dict(decode_stages(data))
    found = {}

    def decode() -> None:
        for name, array in decode_stages(data[:-1] + bytes([data[-1] ^ 0xFF])):
            found[name] = array

    with pytest.raises(CorruptError, match="latent"):
        decode()
    assert list(found) == list(sound)[: list(sound).index("dense")]
    assert np.array_equal(found["latents.1"], sound["latents.1"])
