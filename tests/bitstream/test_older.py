# SPDX-License-Identifier: BSD-3-Clause
"""Streams that are older than 4.0 are named, and nothing else is taken for one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from numchic_bitstream import UnsupportedError
from numchic_bitstream.generations import detect_generation, read_any
from numchic_bitstream.older import name_of_older
from vectors import MISSING, shared_folder

CONFORMANCE = Path(__file__).resolve().parents[2] / "conformance"


def stream_2(n_layers: int = 4, n_grids: int = 7) -> bytes:
    """Stream of 2.0 with zeros for what it holds."""
    sizes = (12, 3, 0, 9, 1)
    grids = tuple(range(n_grids))
    n_bytes = 43 + 3 * n_layers + 3 * n_grids
    return b"".join(
        (
            n_bytes.to_bytes(2, "big"),
            bytes.fromhex("00f0 01a0 01 03021808"),
            bytes([n_layers]) + bytes(3 * n_layers + 20),
            b"".join(n.to_bytes(2, "big") for n in sizes),
            bytes([n_grids]) + b"".join(n.to_bytes(3, "big") for n in grids),
            bytes(sum(sizes) + sum(grids)),
        )
    )


def stream_3(form: int = 0) -> bytes:
    """Beginning of a stream of 3.x."""
    return bytes.fromhex("0009 00f0 01a0") + bytes([form]) + bytes.fromhex("0000 0050 00")


@pytest.mark.parametrize(
    "form", [0x00, 0x01, 0x02, 0x20, 0x22, 0x82, 0x04, 0x08, 0x05, 0x44, 0x48], ids=hex
)
def test_3_with_either_form_of_the_byte_of_the_samples(form: int) -> None:
    assert name_of_older(stream_3(form)) == "3.x"


@pytest.mark.parametrize("form", [0x0C, 0x1F, 0x93, 0xFF], ids=hex)
def test_a_byte_that_no_3_has(form: int) -> None:
    assert name_of_older(stream_3(form)) is None


@pytest.mark.parametrize(("n_layers", "n_grids"), [(4, 7), (1, 1), (5, 7), (3, 8), (0, 0)])
def test_2(n_layers: int, n_grids: int) -> None:
    assert name_of_older(stream_2(n_layers, n_grids)) == "2.0"


def test_what_is_no_whole_2_is_none() -> None:
    data = stream_2()
    for n in range(len(data)):
        assert name_of_older(data[:n]) is None
    assert name_of_older(data + b"\0") is None
    for i in (*range(2), 11, *range(44, 76)):  # everything that says a size
        changed = bytearray(data)
        changed[i] ^= 4
        assert name_of_older(bytes(changed)) is None
    for size in (slice(2, 4), slice(4, 6)):
        changed = bytearray(data)
        changed[size] = bytes(2)
        assert name_of_older(bytes(changed)) is None


@pytest.mark.parametrize(("data", "name"), [(stream_2(), "2.0"), (stream_3(4), "3.x")])
def test_they_are_not_supported(data: bytes, name: str) -> None:
    assert detect_generation(data) == name
    with pytest.raises(UnsupportedError, match=f"a stream of Cool-chic {name}") as caught:
        read_any(data)
    assert (caught.value.field, caught.value.found) == ("generation", name)


def test_no_vector_of_ours_is_taken_for_one() -> None:
    paths = sorted(CONFORMANCE.rglob("*.cool"))
    assert len(paths) > 900
    assert [path.name for path in paths if name_of_older(path.read_bytes())] == []


@pytest.mark.skipif(shared_folder() is None, reason=MISSING)
def test_of_the_vectors_of_others_the_older_ones_are() -> None:
    folder = shared_folder()
    assert folder is not None
    entries = json.loads((folder / "vectors" / "public" / "suite.json").read_text())["vectors"]
    names = {"2.0": "2.0"} | {f"3.{i}": "3.x" for i in range(5)}
    expected = {e["file"]: names[e["generation"]] for e in entries if e["generation"] in names}
    found = {
        path.name: name
        for path in (folder / "vectors").rglob("*.cool")
        if (name := name_of_older(path.read_bytes())) is not None
    }
    assert found == expected
    assert len(found) == 14
