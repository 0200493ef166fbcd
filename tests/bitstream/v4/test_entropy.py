# SPDX-License-Identifier: BSD-3-Clause
"""Section 7: the arithmetic decoder against a coder; section 8: parameters; appendix A."""

from __future__ import annotations

import random
import zlib

import numpy as np
import pytest

from numchic_bitstream import CorruptError, StreamError, TruncatedError
from numchic_bitstream.arrays import U8
from numchic_bitstream.v4 import entropy
from numchic_bitstream.v4.states import states
from numchic_conformance.synthetic.v4.coder import Adaptive, Encoder
from reference.v4 import latents


def as_bytes(data: bytes) -> U8:
    return np.frombuffer(data, np.uint8)


def test_states() -> None:
    table = states()
    data = table.astype(np.uint8).tobytes()
    assert (len(data), sum(data), zlib.crc32(data)) == (4250, 306440, 0x14F077B0)
    assert table.tolist() == latents.states()


def test_shifts() -> None:
    shifts = entropy.renormalisation()
    for lps in range(4, 237):
        assert shifts[lps >> 2] == 8 - (lps.bit_length() - 1)


def test_all_kinds_of_bins() -> None:
    rng = random.Random(2)
    encoder = Encoder()
    bins: list[tuple[int, int]] = []
    for _ in range(3000):
        q8 = rng.randrange(-1, 256)  # -1 stands for bypass
        bit = int(rng.random() < (q8 + 0.5) / 256) if q8 >= 0 else rng.randint(0, 1)
        bins.append((q8, bit))
        if q8 < 0:
            encoder.bypass(bit)
        else:
            encoder.bin(q8, bit)
    data = as_bytes(encoder.finish())
    state = entropy.start(data)
    shifts = entropy.renormalisation()
    for q8, bit in bins:
        width, value, need, position = (int(v) for v in state[:4])
        if q8 < 0:
            found, *rest = entropy.decode_bypass(data, width, value, need, position)
            state[1:4] = rest
        else:
            context = entropy.pack_context(q8)
            found, *rest = entropy.decode_bin(data, shifts, context, width, value, need, position)
            state[:4] = rest
        assert found == bit
    entropy.check_end(state, data, "x", 0)


@pytest.mark.parametrize("order", [0, 1, 5, 12])
def test_numbers(order: int) -> None:
    rng = random.Random(order)
    numbers = [rng.randint(-40, 40) for _ in range(200)] + [2**20, -(2**24), 0]
    encoder = Encoder()
    for number in numbers:
        encoder.signed(number, order)
    data = as_bytes(encoder.finish())
    found = np.zeros(len(numbers), np.int64)
    state = entropy.start(data)
    entropy.decode_numbers(data, state, order, found)
    assert found.tolist() == numbers
    entropy.check_end(state, data, "x", 0)


@pytest.mark.parametrize("adaptive", [True, False])
def test_flags(adaptive: bool) -> None:
    rng = random.Random(3)
    among = [rng.randint(0, 1) for _ in range(500)]
    wanted = [bit and int(rng.random() < 0.2) for bit in among]
    encoder, context = Encoder(), Adaptive()
    for bit, there in zip(wanted, among, strict=True):
        if there:
            if adaptive:
                encoder.bin(context.q8, bit)
            else:
                encoder.bypass(bit)
            context.update(bit)
    data = as_bytes(encoder.finish())
    flags = np.array(among, np.uint8)
    state = entropy.start(data)
    entropy.decode_flags(data, state, entropy.renormalisation(), adaptive, flags)
    assert flags.tolist() == wanted
    entropy.check_end(state, data, "x", 0)


def test_damage() -> None:
    encoder = Encoder()
    for _ in range(50):
        encoder.signed(7, 1)
    intact = encoder.finish()

    def read(data: bytes) -> None:
        found = np.zeros(50, np.int64)
        state = entropy.start(as_bytes(data))
        entropy.decode_numbers(as_bytes(data), state, 1, found)
        entropy.check_end(state, as_bytes(data), "x", 9)

    read(intact)
    for data, kind in [
        (intact[:-1], TruncatedError),
        (intact[:1], TruncatedError),
        (intact + b"\0", CorruptError),
        (intact[:-1] + bytes([intact[-1] ^ 1]), CorruptError),
        (b"\xff" * 60, StreamError),  # an exp-Golomb code without end
    ]:
        with pytest.raises(kind) as caught:
            read(data)
        assert (caught.value.field, caught.value.offset) == ("x", 9)
