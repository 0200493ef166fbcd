# SPDX-License-Identifier: BSD-3-Clause
"""Tests of the naive twins: worked examples of the format specification, then whole streams.

The conformance vectors are looked for in $NUMCHIC_SHARED/vectors, else in shared/vectors next to
the repository; without them the tests that need them are skipped.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import os
import random
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reference import (
    arm,
    context,
    decoder,
    expgolomb,
    frame,
    headers,
    ifce,
    laplace,
    latents,
    noise,
    parameters,
    rangecoder,
    resize,
    synthesis,
    upsampling,
)


def vector_folder(*names: str) -> Path:
    root = os.environ.get("NUMCHIC_SHARED")
    shared = Path(root) if root else Path(__file__).resolve().parents[2] / "shared"
    folder = shared.joinpath("vectors", *names)
    if not folder.is_dir():
        pytest.skip(
            f"conformance vectors not found: {folder} (set NUMCHIC_SHARED to the folder "
            "that holds vectors/)"
        )
    return folder


# --- Section 2.5: headers, and what sections 3 and 4.1 derive from them ------------------------

EXAMPLE = bytes.fromhex(
    "00 10 01 00 00 00 80 00"
    "00 00 00 00 50"
    "c8 73 1d 41 00 06 00 0c aa 0a 84 b2 00 4d 55 33 60 79 1f 93 00 03 c7 40 01 18 12 33 01 41"
    "88 0c f0 67 00"
)


def example_header() -> headers.Header:
    return headers.read_coolchic_header(EXAMPLE[13:])


def test_worked_headers() -> None:
    assert headers.read_video_header(EXAMPLE) == {
        "n_frames": 1,
        "n_intras": 1,
        "n_p_frames": 0,
        "n_bytes_header": 8,
        "intra_pos": [0],
        "p_pos": [],
    }
    assert headers.read_frame_header(EXAMPLE[8:]) == {
        "display_index": 0,
        "frame_type": "I",
        "frame_data_type": "rgb",
        "bitdepth": 8,
        "n_bytes_header": 5,
        "index_references": [],
        "global_flow": [],
    }
    header = example_header()
    steps = [headers.q_step(header, name) for name in headers.BLOCKS]
    assert steps == [2**-7, 2**-6, 2**-6, 2**-5, 2**-8, 1, 2**-10, 2**-11]
    assert list(header.pop("nn_q_step").values()) == [1, 10, 2, 11, 4, 0, 2, 13]
    assert list(header.pop("nn_expgol_cnt").values()) == [5, 5, 3, 3, 6, 0, 7, 9]
    layers = [tuple(layer.values()) for layer in header.pop("syn_layer")]
    assert layers == [
        (48, 1, "linear", "relu"),
        (3, 1, "linear", "none"),
        (3, 3, "residual", "relu"),
        (3, 3, "residual", "none"),
    ]
    assert header == {
        "linear_stabiliser_synth": 1,
        "n_layer_synthesis": 4,
        "ups_k_size": 8,
        "ups_preconcat_k_size": 7,
        "output_feature_ifce": 6,
        "spatial_context_arm": 14,
        "linear_stabiliser_arm": 1,
        "n_hidden_layers_arm": 2,
        "img_size": [512, 768],
        "latent_resolution": [0, 6],
        "n_latent_grids": 10,
        "flag_hyperlatent": 1,
        "flag_common_randomness": 0,
        "final_upsampling_type": "bicubic",
        "nn_n_bytes": 2020,
        "nn_n_bit_pad": 6,
        "n_bytes_latent": 30952,
        "n_bytes_header": 35,
        "ifce_resolution": [0, 2],
        "hyperlatent_resolution": [4, 6],
    }


def test_inter_frame_header() -> None:
    # B frame 5 with references 3 and 9, flows (-2, 7) and (0, -8191), filter size 8, 10 bits.
    fields = [(5, 12), (2, 2), (1, 2), (2, 4), (15, 16), (3, 12), (9, 12)]
    fields += [((1 << 13) + 2, 14), (7, 14), (1 << 13, 14), ((1 << 13) + 8191, 14), (8, 4)]
    bits = "".join(format(value, f"0{n}b") for value, n in fields)
    assert len(bits) == 120
    assert headers.read_frame_header(expgolomb.bytes_from_bits(bits)) == {
        "display_index": 5,
        "frame_type": "B",
        "frame_data_type": "yuv420",
        "bitdepth": 10,
        "n_bytes_header": 15,
        "index_references": [3, 9],
        "global_flow": [-2, 7, 0, -8191],
        "warp_filter_size": 8,
    }


def test_derived_from_the_worked_header() -> None:
    header = example_header()
    assert headers.grid_list(header) == [
        (0, False, 512, 768),
        (1, False, 256, 384),
        (2, False, 128, 192),
        (3, False, 64, 96),
        (4, False, 32, 48),
        (4, True, 32, 48),
        (5, False, 16, 24),
        (5, True, 16, 24),
        (6, False, 8, 12),
        (6, True, 8, 12),
    ]
    assert headers.ifce_inputs(header) == [9, 8, 7, 0, 0, 0, 0, 0, 0, 0]
    assert headers.parameter_shapes(header) == [
        ("arm.weight", [(20, 20), (20, 20), (2, 20), (2, 20)]),
        ("arm.bias", [(20,), (20,), (2,), (2,)]),
        ("ifce.weight", [(6, 9), (6, 8), (6, 7)]),
        ("ifce.bias", [(6,), (6,), (6,)]),
        ("upsampling.weight", [(4,)] * 12),
        ("upsampling.bias", [(1,)] * 12),
        (
            "synthesis.weight",
            [(3, 3, 1, 1), (3, 7, 1, 1), (48, 7, 1, 1), (3, 48, 1, 1), (3, 3, 3, 3), (3, 3, 3, 3)],
        ),
        ("synthesis.bias", [(3,), (3,), (48,), (3,), (3,), (3,)]),
    ]


def test_ifce_resolution_uses_the_height_only() -> None:
    for height in [*range(1, 70), 255, 256, 257, 8191, 8192, 8193, 16383]:
        for level in range(16):
            header = {
                "output_feature_ifce": 1,
                "img_size": [height, 5],
                "latent_resolution": [level, level],
                "flag_hyperlatent": 0,
            }
            r = min(level, (height - 1).bit_length())
            assert headers.ifce_inputs(header | {"ifce_resolution": [r, r]}) == [1]
            assert headers.ifce_inputs(header | {"ifce_resolution": [r + 1, 15]}) == [0]


# --- Section 4.2: exp-Golomb ------------------------------------------------------------------

CODE_WORDS = [
    (0, "1", "10", "1000"),
    (1, "010", "11", "1001"),
    (-1, "011", "0100", "1010"),
    (2, "00100", "0101", "1011"),
    (-2, "00101", "0110", "1100"),
    (3, "00110", "0111", "1101"),
    (-3, "00111", "001000", "1110"),
    (7, "0001110", "001111", "010101"),
    (-8, "000010001", "00010010", "011000"),
]


@pytest.mark.parametrize(("q", "order0", "order1", "order3"), CODE_WORDS)
def test_code_words(q: int, order0: str, order1: str, order3: str) -> None:
    for order, bits in ((0, order0), (1, order1), (3, order3)):
        assert expgolomb.encode_value(q, order) == bits
        assert expgolomb.decode_values(bits, 0, 1, order) == ([q], len(bits))


def test_worked_payload() -> None:
    values = [3, -1, 0, 10]
    data, n_bit_pad = expgolomb.payload((q, 1) for q in values)
    assert (data, n_bit_pad) == (bytes.fromhex("01d215"), 6)
    assert expgolomb.decode_values(expgolomb.bits_from_bytes(data), 6, 4, 1) == (values, 24)


def test_expgolomb_round_trip() -> None:
    values = [0, 1, -1, 63, -64, 65535, -65535, 2**40, -(2**40)]
    for order in range(13):
        data, n_bit_pad = expgolomb.payload((q, order) for q in values)
        bits = expgolomb.bits_from_bytes(data)
        assert expgolomb.decode_values(bits, n_bit_pad, 9, order) == (values, len(bits))


# --- Section 5: integer ARM and IFCE ----------------------------------------------------------


def random_matrix(source: random.Random, rows: int, columns: int) -> list[list[int]]:
    return [[source.randint(-300, 300) for _ in range(columns)] for _ in range(rows)]


def normalised_arm(
    weights: list[list[list[int]]],
    biases: list[list[int]],
    n_spatial: int,
    c: list[int],
    sw: int,
    sb: int,
) -> tuple[int, int]:
    """Section 5.4, with a stabiliser."""
    d = len(c)
    *hidden, (qw, qb), (qs, qbs) = zip(weights, biases, strict=True)
    shift = [16 if i < n_spatial else 8 for i in range(d)]
    qb = [qb[0], qb[1] - (4 << sb)]
    out = []
    if not hidden:
        for o in range(2):
            total = (qb[o] + qbs[o]) << (16 - sb)
            total += sum(c[i] * ((qw[o][i] + qs[o][i]) << (shift[i] - sw)) for i in range(d))
            if d == 2:
                total += c[o] << shift[o]
            out.append(total >> 8)
        return out[0], out[1]
    first_w, first_b = hidden[0]
    x = []
    for o in range(d):
        total = first_b[o] << (16 - sb)
        total += sum(c[i] * (first_w[o][i] << (shift[i] - sw)) for i in range(d))
        x.append(max(total + (c[o] << shift[o]), 0))
    for w, b in hidden[1:]:
        total_of = [
            sum(x[i] * (w[o][i] + ((1 << sw) if i == o else 0)) for i in range(d))
            + (b[o] << (16 + sw - sb))
            for o in range(d)
        ]
        x = [max(total, 0) >> sw for total in total_of]
    for o in range(2):
        total = sum(x[i] * qw[o][i] for i in range(d)) + ((qb[o] + qbs[o]) << (16 + sw - sb))
        total += sum(c[i] * (qs[o][i] << shift[i]) for i in range(d))
        if d == 2:
            total += x[o] << sw
        out.append(total >> (8 + sw))
    return out[0], out[1]


@pytest.mark.parametrize("n_hidden", [0, 1, 2, 3])
@pytest.mark.parametrize(("n_spatial", "n_features"), [(2, 0), (1, 1), (4, 0), (3, 5)])
def test_original_and_normalised_arm(n_hidden: int, n_spatial: int, n_features: int) -> None:
    source = random.Random(100 * n_hidden + 10 * n_spatial + n_features)
    d = n_spatial + n_features
    for _ in range(50):
        sw, sb = source.randint(0, 8), source.randint(0, 16)
        rows = [d] * n_hidden + [2, 2]
        weights = [random_matrix(source, n, d) for n in rows]
        biases = [random_matrix(source, 1, n)[0] for n in rows]
        c = [source.randint(-64, 63) for _ in range(n_spatial)]
        c += [source.randint(-2000, 2000) for _ in range(n_features)]
        fixed = arm.fixed_parameters(weights, biases, n_spatial, True, sw, sb)
        assert arm.evaluate(c, fixed) == normalised_arm(weights, biases, n_spatial, c, sw, sb)


def test_arm_identities_and_offset() -> None:
    # All parameters zero: nothing but the folded identities and the scale offset is left.
    zeros: list[list[int]] = [[0, 0], [0, 0]]
    fixed = arm.fixed_parameters([zeros], [[0, 0]], 2, False, 8, 16)
    assert arm.evaluate([3, -5], fixed) == (3 * 256, -5 * 256 - 4 * 256)
    fixed = arm.fixed_parameters([zeros], [[0, 0]], 1, False, 8, 16)
    assert arm.evaluate([3, 700], fixed) == (3 * 256, 700 - 4 * 256)
    fixed = arm.fixed_parameters([[[0] * 3] * 2], [[0, 0]], 3, False, 8, 16)
    assert arm.evaluate([3, -5, 9], fixed) == (0, -4 * 256)


def test_indices() -> None:
    assert arm.indices((0, 0)) == (16384, 1280)
    assert arm.indices((-(10**9), -(10**9))) == (0, 0)
    assert arm.indices((10**9, 10**9)) == (32767, 2560)


def test_round_to_float32() -> None:
    source = random.Random(1)
    values = [0, 1, 2**24, 2**24 + 1, 2**24 + 2, 2**24 + 3, 2**25 - 1, 2**25 + 2, 2**25 + 6]
    values += [source.getrandbits(source.randint(1, 53)) for _ in range(2000)]
    for value in itertools.chain(values, [-value for value in values]):
        assert ifce.round_to_float32(value) == int(np.float32(value))
    # Here rounding to float64 on the way would give a tie, resolved the wrong way.
    assert ifce.round_to_float32(2**60 + 2**36 + 1) == 2**60 + 2**37


# --- Section 6: contexts ----------------------------------------------------------------------

NEIGHBOUR_MAP = """
38  35  30  25  23  31  36  37  39
33  28  21  20   6  15  22  29  34
32  18  12  10   5   9  14  19  27
24  13   8   2   1   3  11  17  26
16   7   4   0
"""


def test_neighbours_match_the_map() -> None:
    assert len(context.NEIGHBOURS) == 40
    for dy, line in enumerate(NEIGHBOUR_MAP.split("\n")[1:-1], start=-4):
        for dx, j in enumerate(line.split(), start=-4):
            assert context.NEIGHBOURS[int(j)] == (dy, dx)


def test_spatial_context() -> None:
    grid = [[10 * y + x for x in range(6)] for y in range(5)]
    assert context.spatial_context(grid, 0, 0, 40) == [0] * 40
    assert context.spatial_context(grid, 2, 3, 8) == [22, 13, 12, 14, 21, 3, 0, 20]


def test_worked_ifce_example() -> None:
    """Section 6.4."""
    header = {
        "img_size": [5, 6],
        "latent_resolution": [0, 1],
        "flag_hyperlatent": 1,
        "hyperlatent_resolution": [1, 1],
        "output_feature_ifce": 1,
        "ifce_resolution": [0, 1],
        "spatial_context_arm": 1,
        "n_hidden_layers_arm": 0,
        "linear_stabiliser_arm": 0,
        "linear_stabiliser_synth": 0,
        "flag_common_randomness": 0,
        "ups_k_size": 4,
        "ups_preconcat_k_size": 1,
        "syn_layer": [{"out_ft": 3, "k_size": 1}],
    }
    assert headers.grid_list(header) == [(0, False, 5, 6), (1, False, 3, 3), (1, True, 3, 3)]
    assert headers.ifce_inputs(header) == [2, 1, 1]
    assert dict(headers.parameter_shapes(header))["ifce.weight"] == [(1, 2), (1, 1), (1, 1)]

    # Steps 2^-8 and 2^-16: a feature is the sum of weight * value, plus floor(bias / 256).
    layers = [
        ifce.fixed_parameters([[3, -7]], [512], 8, 16),
        ifce.fixed_parameters([[5]], [-1], 8, 16),
        ifce.fixed_parameters([[9]], [-300], 8, 16),
    ]
    grid2 = [[1, 2, 3], [4, 5, 6], [7, 8, -9]]
    grid1 = [[10, 20, 30], [40, 50, -60], [11, 12, 13]]
    assert ifce.feature_map(2, [[], [], []], 3, 3, 1, layers[2]) == [[[-2] * 3] * 3]
    assert ifce.feature_map(1, [[], [], grid2], 3, 3, 1, layers[1]) == [
        [[4, 4, 9], [4, 4, 9], [19, 19, 24]]
    ]
    expected = [
        [3 * grid1[y // 2][x // 2] - 7 * grid2[y // 2][x // 2] + 2 for x in range(6)]
        for y in range(5)
    ]
    assert ifce.feature_map(0, [[], grid1, grid2], 5, 6, 1, layers[0]) == [expected]
    assert ifce.feature_map(0, [[], grid1, grid2], 5, 6, 2, None) == [[[0] * 6] * 5] * 2


def test_stack_is_the_shifted_grid() -> None:
    """The equivalence at the end of section 6.2."""
    header = example_header() | {"img_size": [37, 53]}
    infos = headers.grid_list(header)
    grids = [
        [[1000 * k + 50 * y + x for x in range(w)] for y in range(h)]
        for k, (_, _, h, w) in enumerate(infos)
    ]
    for k in range(len(infos) - 1):
        level, _, h, w = infos[k + 1]
        for j, channel in enumerate(ifce.stack(k, grids)):
            d = infos[k + 1 + j][0] - level
            fine = [[grids[k + 1 + j][y >> d][x >> d] for x in range(w)] for y in range(h)]
            assert channel == fine


# --- Section 7: coding order ------------------------------------------------------------------


@pytest.mark.parametrize(("h", "w"), [(1, 1), (5, 3), (12, 9), (4, 10), (7, 11), (3, 25), (1, 40)])
def test_coding_order(h: int, w: int) -> None:
    order = list(context.coding_order(h, w))
    raster = [(y, x) for y in range(h) for x in range(w)]
    if w <= 9:
        assert order == raster
    else:
        assert order == sorted(raster, key=lambda place: (place[1] + 10 * place[0], place[0]))
    done = set()
    for y, x in order:
        for dy, dx in context.NEIGHBOURS:
            if 0 <= y + dy < h and 0 <= x + dx < w:
                assert (y + dy, x + dx) in done
        done.add((y, x))


# --- Section 8: probabilities and range coder -------------------------------------------------


def test_tables() -> None:
    bits = laplace.SCALE.view(np.uint32)
    checks = {0: 0x3BDCC9FF, 1: 0x3BDDA738, 87: 0x3C1B1304, 1280: 0x3F800000, 2560: 0x431469C5}
    assert {i: int(bits[i]) for i in checks} == checks
    scale = laplace.SCALE.astype("<f4").tobytes()
    both = laplace.MU.astype("<f4").tobytes() + scale
    assert hashlib.sha256(scale).hexdigest() == (
        "b4b2e7088698f43e7c43134f6488f8d060a6199acd1d6a477f6fa423d1bf2e4b"
    )
    assert hashlib.sha256(both).hexdigest() == (
        "120b06d22c04b5ea4321614095b80d02bdc19fa45ab11d960d98663cd2453e4c"
    )


def test_cumulative_tables() -> None:
    table = np.load(vector_folder("v5", "entropy") / "laplace_cumulative.npz")
    pairs = zip(table["mu_index"].tolist(), table["log_scale_index"].tolist(), strict=True)
    for (mu_index, scale_index), expected in zip(pairs, table["cumulative"], strict=True):
        counts = [laplace.left(s, mu_index, scale_index) for s in range(-64, 65)]
        assert counts == expected.tolist()


# Section 8.5: s, im, is, left, prob, lower after, range after (, words output, pending)
EXAMPLE_A = """
0 16384 1280 5087973 6601270 4da2e4ffffb25d1b 64ba35ffff9b45ca
1 16500 900 9955889 6738534 8968e056ff7072ea 2874fa667d1d2d9a
-3 15700 1600 6616816 2174861 995d987d5180a61a 053e98099cd865d9
63 16384 0 16777215 1 9e9c3081aee89c7e 000000053e98099c
-64 16384 0 0 1 aee89c7e00000000 0000053e00000000
2 17000 700 1417 13377066 aee89c7e1d042e00 0000042e06202c00
0 16384 300 64 16777088 aee89c7e1e0faf80 0000042e03e8fd00
0 0 2560 11308635 36724 aee89f4f5b15b491 000000025798865c
"""
EXAMPLE_B = """
0 16256 1409 8388608 3803953 7fffffffff800000 3a0b30ffffc5f4cf 0 0
-64 16491 604 0 1 7fffffffff800000 0000003a0b30ffff 0 0
-8 16367 1233 389 776 ffd832b700000000 00aff15800000000 0 1
-1 16390 1393 3149099 2841782 fff939044f01c800 001dcd4199349000 0 1
0 16608 1408 3643354 3038715 ffffb1cad95be34a 000565d29291e603 0 1
0 16861 1281 796824 1360634 fffff36bd58fb9fa 00007010e26a4694 0 1
-2 16047 1173 1389831 4957416 fffffcb46ea8fa28 0000211d229614d0 0 1
-4 16294 1457 1050316 682833 fffffec721dafd40 0000015904fb6dc2 0 1
4 16689 1370 15124194 835066 fffffffe277caac8 000000112c38e1e8 0 1
1 16696 754 30794 15812211 fffffffe2f8e4180 000000102f25bec4 0 1
-3 16469 1457 1230674 800094 5f75f98e00000000 c593ac4200000000 0 2
3 16764 1046 16111207 610979 1d31c659937a8e00 0731f82885d20600 2 0
"""


@pytest.mark.parametrize(
    ("table", "words"),
    [(EXAMPLE_A, [0x9E9C3081, 0xAEE89F50]), (EXAMPLE_B, [0x80000000, 0, 0x1D31C65A])],
    ids=["A", "B"],
)
def test_worked_range_coder(table: str, words: list[int]) -> None:
    encoder = rangecoder.Encoder()
    decoder_ = rangecoder.Decoder(words)
    for line in table.strip().splitlines():
        fields = line.split()
        s, mu_index, scale_index, low, p = map(int, fields[:5])
        state = int(fields[5], 16), int(fields[6], 16)
        assert laplace.bounds(s, mu_index, scale_index) == (low, p)
        encoder.encode(s, mu_index, scale_index)
        assert (encoder.lower, encoder.range) == state
        if len(fields) > 7:
            assert (len(encoder.words), encoder.pending) == (int(fields[7]), int(fields[8]))
        assert decoder_.decode(mu_index, scale_index) == s
        assert (decoder_.lower, decoder_.range) == state
    assert encoder.finish() == words


def test_payload_bytes() -> None:
    data = bytes.fromhex("81309c9e509fe8ae")
    assert rangecoder.words_from_bytes(data) == [0x9E9C3081, 0xAEE89F50]
    assert rangecoder.bytes_from_words([0x9E9C3081, 0xAEE89F50]) == data
    assert rangecoder.Encoder().finish() == []


def test_range_coder_round_trip() -> None:
    source = random.Random(2)
    for length in range(1, 120):
        symbols = []
        for _ in range(length):
            mu_index = source.randint(0, 32767)
            likely = min(max(round((mu_index - 16384) / 256), -64), 63)
            s = source.choice([-64, 63, source.randint(-64, 63), likely, likely])
            symbols.append((s, mu_index, source.choice([0, 600, 1280, 2560])))
        encoder = rangecoder.Encoder()
        for s, mu_index, scale_index in symbols:
            encoder.encode(s, mu_index, scale_index)
        decoder_ = rangecoder.Decoder(encoder.finish())
        for s, mu_index, scale_index in symbols:
            assert decoder_.decode(mu_index, scale_index) == s


def test_quantile_out_of_range() -> None:
    with pytest.raises(ValueError, match="quantile"):
        rangecoder.Decoder([0xFFFFFFFF, 0xFFFFFFFF]).decode(16384, 1280)


# --- Section 9: upsampling --------------------------------------------------------------------


def tap(row: list[int], i: int) -> int:
    return row[min(max(i, 0), len(row) - 1)]


# The explicit forms of section 9.4: parameters, then (offset, parameter number) of out[2p] and
# of out[2p + 1].
EXPLICIT_X2 = [
    ([2, 5], [(-1, 0), (0, 1)], [(0, 1), (1, 0)]),
    ([2, 5, 11], [(-1, 1), (0, 2), (1, 0)], [(-1, 0), (0, 2), (1, 1)]),
    (
        [2, 5, 11, 23],
        [(-2, 0), (-1, 2), (0, 3), (1, 1)],
        [(-1, 1), (0, 3), (1, 2), (2, 0)],
    ),
]


@pytest.mark.parametrize(("params", "even", "odd"), EXPLICIT_X2, ids=["4", "6", "8"])
def test_explicit_x2(
    params: list[int], even: list[tuple[int, int]], odd: list[tuple[int, int]]
) -> None:
    row = [3, -1, 4, 1, -5]
    expected = []
    for p in range(len(row)):
        for taps in (even, odd):
            expected.append(sum(params[j] * tap(row, p + offset) for offset, j in taps))
    unit = sum(params)
    doubled = upsampling.x2(np.array([row], dtype=np.float32), params)
    assert doubled.dtype == np.float32
    assert doubled.tolist() == [[unit * value for value in expected]] * 2
    transposed = upsampling.x2(np.array([row], dtype=np.float32).T, params)
    assert transposed.tolist() == np.transpose(doubled).tolist()


@pytest.mark.parametrize("k", [4, 6, 8, 10, 12, 14])
def test_x2_is_the_transposed_filter(k: int) -> None:
    """The first form of section 9.4, on integers (exact in float32)."""
    source = random.Random(k)
    params = [source.randint(-9, 9) for _ in range(k // 2)]
    kernel = params + params[::-1]
    row = [source.randint(-64, 63) for _ in range(9)]
    expected = []
    for m in range(18):
        total = 0
        for j in range(-20, 40):
            t = m - 2 * j + k // 2 - 1
            if 0 <= t <= k - 1:
                total += tap(row, j) * kernel[t]
        expected.append(total * sum(params))
    assert upsampling.x2(np.array([row], dtype=np.float32), params).tolist() == [expected] * 2


def test_pre() -> None:
    grid = np.array([[1, 2, 3], [4, 5, 6]], dtype=np.float32)
    assert upsampling.pre(grid, [0, 0, 1]).tolist() == (2 * grid).tolist()
    assert upsampling.pre(grid, [3]).tolist() == (10 * grid).tolist()
    impulse = np.zeros((5, 5), dtype=np.float32)
    impulse[2, 2] = 1
    kernel = np.array([2, 3, 7, 3, 2], dtype=np.float32)
    expected = np.outer(kernel, kernel) + impulse
    assert upsampling.pre(impulse, [2, 3, 7]).tolist() == expected.tolist()
    corner = np.zeros((3, 3), dtype=np.float32)
    corner[0, 0] = 1
    expected = np.outer(kernel[2:], kernel[2:]) + corner
    assert upsampling.pre(corner, [2, 3, 7]).tolist() == expected.tolist()


def test_single_latent_is_not_filtered() -> None:
    grid = np.array([[1, -2], [3, 4]], dtype=np.int32)
    dense = upsampling.upsample([grid], [[1, 2]] * 3, [[5]] * 3)
    assert dense.dtype == np.float32
    assert dense.tolist() == [grid.tolist()]


# --- Sections 10 and 11 -----------------------------------------------------------------------


def test_first_noise_samples() -> None:
    expected = [
        -0.6612883321409466,
        -0.5787911979261936,
        0.4383389299890308,
        -0.32975140846366535,
        1.3629229106862975,
    ]
    assert list(itertools.islice(noise.normal_samples(), 5)) == pytest.approx(expected, rel=1e-14)
    field = noise.noise_grids((2, 3), 0, 0)[0]
    assert np.array_equal(field.ravel()[:5], np.array(expected, dtype=np.float32))


def test_common_randomness_channels() -> None:
    grids = noise.noise_grids((5, 7), 0, 2)
    assert [grid.shape for grid in grids] == [(5, 7), (3, 4), (2, 2)]
    field = noise.common_randomness((5, 7), 0, 2)
    assert field.shape == (3, 5, 7)
    assert field.dtype == np.float32
    assert np.array_equal(field[0], grids[0])
    assert np.array_equal(field[1], resize.resize(grids[1], (6, 8), "bicubic")[:5, :7])


def test_resize() -> None:
    row = np.array([[0, 10, 20, 40]], dtype=np.float32)

    def resized(width: int, kind: str) -> list[float]:
        result: list[float] = resize.resize(row, (1, width), kind)[0].tolist()
        return result

    for kind in headers.RESIZES:
        assert np.array_equal(resize.resize(row, (1, 4), kind), row)
    assert resized(8, "nearest") == [0, 0, 10, 10, 20, 20, 40, 40]
    assert resized(6, "nearest") == [0, 0, 10, 20, 20, 40]
    assert resized(8, "bilinear") == [0, 2.5, 7.5, 12.5, 17.5, 25, 35, 40]
    # Bicubic at fractions 1/4 and 3/4 (a = -0.75); exact in float32.
    c = [-0.10546875, 0.87890625, 0.26171875, -0.03515625]
    assert sum(c) == 1
    clipped = [0, 0, 0, 10, 20, 40, 40, 40]
    expected = []
    for p in range(4):
        before, after = clipped[p : p + 4], clipped[p + 1 : p + 5]
        expected.append(sum(a * b for a, b in zip(c[::-1], before, strict=True)))
        expected.append(sum(a * b for a, b in zip(c, after, strict=True)))
    assert resized(8, "bicubic") == expected
    column = resize.resize(row.T, (8, 1), "bicubic")
    assert column[:, 0].tolist() == expected


def test_conv() -> None:
    x = np.array([[[1, 2, 3], [4, 5, 6]], [[-1, 0, 2], [7, -3, 1]]], dtype=np.float32)
    source = random.Random(3)
    for k in (1, 3, 5, 9):
        c = (k - 1) // 2
        weight = [[random_matrix(source, k, k) for _ in range(2)] for _ in range(2)]
        expected = np.zeros((2, 2, 3))
        for o, y, column in np.ndindex(2, 2, 3):
            total = float(10 + o) + float(x[o, y, column])
            for i, dy, dx in np.ndindex(2, k, k):
                row_ = min(max(y + dy - c, 0), 1)
                column_ = min(max(column + dx - c, 0), 2)
                total += weight[o][i][dy][dx] * float(x[i, row_, column_])
            expected[o, y, column] = max(total, 0)
        result = synthesis.conv(x, weight, [10, 11], residual=True, relu=True)
        assert result.dtype == np.float32
        assert result.tolist() == expected.tolist()


def test_synthesise_stabiliser_sees_the_latents_only() -> None:
    z = np.array([[[1]], [[10]], [[100]], [[1000]]], dtype=np.float32)
    trunk = ([[[[1]], [[0]], [[0]], [[1]]]], [0.5], False, False)
    stabiliser = ([[[[2]], [[3]]]], [0.25])
    transform = ([[[[4]]]], [-1])
    assert synthesis.synthesise(z, 2, [trunk], stabiliser, transform).tolist() == [
        [[4 * (1001.5 + 32.25) - 1]]
    ]
    assert synthesis.synthesise(z, 2, [trunk], None, transform).tolist() == [[[4 * 1001.5 - 1]]]


# --- Section 12 -------------------------------------------------------------------------------


def test_samples() -> None:
    x = np.zeros((3, 3, 5), dtype=np.float32)
    x[0, 0] = [-1, 0.5, 1, 7, 2.5 / 255]
    planes = frame.to_samples(x, "rgb", 8)
    assert planes[0][0].tolist() == [0, 128, 255, 255, 2]
    assert [plane.shape for plane in frame.to_samples(x, "yuv444", 8)] == [(3, 5)] * 3
    # Chroma is averaged before it is clamped.
    x[1, :2, :2] = [[-1, 1], [1, 1]]
    x[1, :2, 2:4] = [[2, 0], [0, 0]]
    planes = frame.to_samples(x, "yuv420", 10)
    assert [plane.shape for plane in planes] == [(3, 5), (1, 2), (1, 2)]
    assert planes[1].tolist() == [[512, 512]]


# --- Section 17: the official picture, as far as it is cheap -----------------------------------


def official_part() -> headers.Header:
    data = (vector_folder("v5", "official") / "kodim14.cool").read_bytes()
    assert data.startswith(EXAMPLE)
    part: headers.Header = headers.read_file(data)["frames"][0]["residue"]
    return part


def test_official_parameters() -> None:
    part = official_part()
    q = parameters.decode_parameters(part["header"], part["nn_payload"])
    summary = {
        name: (len(values), sum(values), sum(map(abs, values)), values[:8], values[-3:])
        for name, values in q.items()
    }
    zeros = [0] * 8
    assert summary == {
        "arm.weight": (880, -2418, 32258, [-48, 86, -106, 93, 14, -66, 18, 23], [-20, 12, -23]),
        "arm.bias": (44, -66, 1028, [17, -24, -12, 11, -2, 7, 21, 4], [18, 0, 18]),
        "ifce.weight": (144, 217, 1247, [2, -9, 2, 0, -20, 5, -4, -3], [-22, 2, 16]),
        "ifce.bias": (18, -62, 198, [-9, -15, 16, 11, -12, -4, 11, -9], [0, 3, -17]),
        "upsampling.weight": (
            48,
            -112,
            2962,
            [-62, -49, -81, -214, 6, 17, -69, -176],
            [-8, 104, 196],
        ),
        "upsampling.bias": (12, 0, 0, zeros, [0, 0, 0]),
        "synthesis.weight": (672, 2806, 110412, [1024, 0, 0, 0, 1024, 0, 0, 0], [-5, -322, -3]),
        "synthesis.bias": (
            63,
            -10569,
            18247,
            [0, 0, 0, 208, 214, 177, -613, -175],
            [208, 214, 177],
        ),
    }
    assert parameters.encode_parameters(part["header"], q) == (part["nn_payload"], 6)


def test_official_first_symbols_and_coarse_grids() -> None:
    part = official_part()
    header = part["header"]
    q = parameters.decode_parameters(header, part["nn_payload"])
    range_decoder = rangecoder.Decoder(rangecoder.words_from_bytes(part["latent_payload"]))
    trace = []

    def code_symbol(k: int, y: int, x: int, mu_index: int, scale_index: int) -> int:
        s = range_decoder.decode(mu_index, scale_index)
        trace.append((k, y, x, mu_index, scale_index, s))
        return s

    # Grids 9 to 3 only: the finer ones are too slow here.
    coarse = itertools.islice(latents.code_grids(header, q, code_symbol), 7)
    found = {k: grid for k, grid, _ in coarse}
    assert [place[3:] for place in trace[:10]] == [
        (16371, 795, 1),
        (16594, 1022, 1),
        (16580, 911, 2),
        (16837, 1164, 3),
        (17073, 1176, 3),
        (17101, 1052, 2),
        (16764, 1010, 2),
        (16859, 1044, 2),
        (16848, 1039, 2),
        (16848, 1039, 2),
    ]
    assert trace[10:14] == [
        (9, 0, 10, 16848, 1039, 2),
        (9, 1, 0, 16510, 1040, 0),
        (9, 0, 11, 16848, 1039, 2),
        (9, 1, 1, 16568, 1026, 0),
    ]
    crcs = {k: zlib.crc32(np.array(grid, dtype=np.int8).tobytes()) for k, grid in found.items()}
    assert crcs == {
        9: 0xBED1D033,
        8: 0x1722F733,
        7: 0x6B339E2B,
        6: 0xFDC6B96A,
        5: 0xB4CC4774,
        4: 0xB45CCE1C,
        3: 0x555E2777,
    }
    grids: list[ifce.Grid] = [found.get(k, []) for k in range(10)]
    features = ifce.feature_map(2, grids, 128, 192, 6, latents.fixed_ifces(header, q)[2])
    for y, x in itertools.product((0, 1), (0, 1)):
        assert [feature[y][x] for feature in features] == [-64, -232, -184, -116, 16, 184]
    assert (np.min(features), np.max(features)) == (-804, 916)


# --- Whole streams ----------------------------------------------------------------------------

STILLS = [
    "arm-ctx1-hid0-ifce1_45x37",
    "arm-ctx2-hid2-noifce_45x37",
    "arm-ctx6-hid7_50x40",
    "arm-ctx40-hid1-ifce31_40x32",
    "cr-1x1_1x1",
    "cr-lat-0-2-nostab_29x21",
    "cr-mop-nohyper-linear-arm_34x46",
    "expgol-all12_40x30",
    "hyper-0-1-above-latents_44x36",
    "ifce-0-6-ft6-square_48x48",
    "ifce-5-9-wide-height-saturates_200x12",
    "ifce-8-9-ft3-no-grid_40x33",
    "ifce-context-beyond-float32_45x37",
    "lat-0-0_33x27",
    "lat-0-15-hyper-1-15_40x30",
    "lat-1-4-final-bicubic_45x33",
    "lat-1-5-final-nearest_45x33",
    "lat-1-6-final-bilinear_45x33",
    "lat-2-6-final-bicubic_47x37",
    "lat-2-6-final-nearest_50x31",
    "lat-3-3-final-bilinear_43x29",
    "latents-const-m64_30x30",
    "latents-extreme_40x40",
    "latents-zero-tiny-bytes_30x30",
    "opt-even-kernel-k2_30x22",
    "opt-gap-lat-0-0-hyper-3-3_30x26",
    "qstep-max_40x30",
    "rgb-16b_31x23",
    "size_10x33",
    "size_1x1",
    "size_1x40",
    "size_2x2",
    "size_40x1",
    "size_8x3",
    "size_9x200",
    "stab-none_50x50",
    "syn-64-64-k3_32x24",
    "syn-k9-k15_40x36",
    "syn-kernels-wider-than-image_5x4",
    "tail-symbols-narrow_40x30",
    "unused-ifce-fields-nonzero_33x26",
    "ups14-pre15-tiny-grids_13x11",
    "ups4-pre1_50x38",
    "yuv420-8b-lat-1-5_46x34",
    "yuv420-8b-odd_61x45",
    "yuv420-9b_34x20",
    "yuv444-16b_33x20",
]

SYNTHETIC = [
    "a_hyper_ifce_all",
    "b_cr_linear",
    "c_lo2_bilinear420_10",
    "d2_dim2_L1",
    "d3_dim2_nostab",
    "d_dim2_L0",
    "e_h1",
    "e_w10",
    "e_w1h1",
    "e_w3",
    "e_w9",
    "g_lo1_bicubic",
    "g_lo1_nearest_444",
    "h_bigq",
    "h_fineq",
    "i_420odd",
    "k2_ifce_f32",
    "k_ifce_huge",
]


@functools.cache
def suite(folder: Path) -> dict[str, Any]:
    index = json.loads((folder / "suite.json").read_text())
    return {entry["name"]: entry for entry in index["vectors"]}


def sha256_of_int32(values: Any) -> str:
    return hashlib.sha256(np.asarray(values, dtype="<i4").tobytes()).hexdigest()


def expected_planes(path: Path, entry: dict[str, Any]) -> list[Any]:
    height, width = entry["height"], entry["width"]
    if path.suffix == ".png":
        image = pytest.importorskip("PIL.Image")
        pixels = np.asarray(image.open(path).convert("RGB"))
        return [pixels[..., c] for c in range(3)]
    data = path.read_bytes()
    if path.suffix == ".ppm":
        kind = ">u2" if entry["bitdepth"] > 8 else "u1"
        pixels = np.frombuffer(data.split(b"\n", 3)[3], kind).reshape(height, width, 3)
        return [pixels[..., c] for c in range(3)]
    samples = np.frombuffer(data, "<u2" if entry["bitdepth"] > 8 else "u1")
    half = entry["frame_data_type"] == "yuv420"
    chroma = (height // 2, width // 2) if half else (height, width)
    planes = []
    for h, w in ((height, width), chroma, chroma):
        planes.append(samples[: h * w].reshape(h, w))
        samples = samples[h * w :]
    assert samples.size == 0
    return planes


def same_header(header: headers.Header, sidecar: dict[str, Any]) -> None:
    for field, expected in sidecar.items():
        if field == "nn_q_step":
            for name in headers.BLOCKS:
                module, kind = name.split(".")
                assert headers.q_step(header, name) == expected[module][kind]
        elif field == "nn_expgol_cnt":
            for name in headers.BLOCKS:
                module, kind = name.split(".")
                assert header[field][name] == expected[module][kind]
        elif field.startswith("syn_layer_"):
            layer = header["syn_layer"][int(field.removeprefix("syn_layer_"))]
            assert "-".join(str(value) for value in layer.values()) == expected
        else:
            assert header[field] == expected, field


@pytest.mark.parametrize("name", STILLS)
def test_still(name: str) -> None:
    folder = vector_folder("v5")
    entry = suite(folder)[name]
    sidecar = json.loads((folder / entry["sidecar"]).read_text())["coded_frames"][0]
    data = (folder / entry["input"]).read_bytes()
    part = headers.read_file(data)["frames"][0]["residue"]
    stages = decoder.decode_stages(data)
    header, q, grids = stages["header"], stages["parameters"], stages["grids"]

    same_header(stages["frame_header"], sidecar["frame_header"])
    same_header(header, sidecar["residue"]["header"])
    assert headers.ifce_inputs(header) == sidecar["residue"]["input_features_ifce"]

    found = {
        block: (len(values), sum(values), sha256_of_int32(values)) for block, values in q.items()
    }
    assert found == {
        f"{module}.{kind}": (expected["count"], expected["sum"], expected["sha256"])
        for module, kinds in sidecar["residue"]["nn"].items()
        for kind, expected in kinds.items()
    }
    for grid, expected in zip(grids, sidecar["residue"]["latents"], strict=True):
        assert grid.shape == (expected["height"], expected["width"])
        assert sha256_of_int32(grid) == expected["sha256"]

    assert parameters.encode_parameters(header, q) == (part["nn_payload"], header["nn_n_bit_pad"])
    assert latents.encode_latents(header, q, grids) == part["latent_payload"]

    arrays = (folder / entry["input"]).with_suffix(".npz")
    if arrays.exists():
        largest = float(np.abs(stages["synthesis_input"]).max())
        for key, expected in np.load(arrays).items():
            result = stages[key.removeprefix("frame0_residue_")]
            assert result.dtype == np.float32
            np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6 * max(largest, 1))

    planes = expected_planes(folder / entry["expected"], entry)
    differences = np.concatenate(
        [
            np.abs(plane.astype(np.int64) - expected.astype(np.int64)).ravel()
            for plane, expected in zip(stages["planes"], planes, strict=True)
        ]
    )
    assert differences.size == entry["samples"]
    assert differences.max() <= entry["allowed"]["max_abs_diff"]
    assert np.count_nonzero(differences) <= entry["allowed"]["changed_samples"]


@pytest.mark.parametrize("name", SYNTHETIC)
def test_synthetic_still(name: str) -> None:
    folder = vector_folder("v5-synthetic")
    expected = json.loads((folder / "expected.json").read_text())[f"{name}.cool"]
    stages = decoder.decode_stages((folder / f"{name}.cool").read_bytes())

    for grid, want in zip(reversed(stages["grids"]), expected["grids"], strict=True):
        assert grid.shape == (want["h"], want["w"])
        assert zlib.crc32(grid.astype(np.int8).tobytes()) == int(want["crc32"], 16)

    (want_frame,) = expected["frames"]
    assert stages["frame_header"]["frame_data_type"] == want_frame["type"]
    assert stages["frame_header"]["bitdepth"] == want_frame["bitdepth"]
    for plane, want in zip(stages["planes"], want_frame["planes"], strict=True):
        assert plane.shape == (want["h"], want["w"])
        if zlib.crc32(plane.astype("<u2").tobytes()) != int(want["crc32_u16le"], 16):
            # Only isolated differences of 1 may explain another checksum.
            assert abs(int(plane.sum()) - want["sum"]) <= max(1, plane.size // 10000)


def test_inter_parameters_and_grids() -> None:
    """Both decoders of P and B frames: exact stages only."""
    folder = vector_folder("v5-synthetic")
    expected = json.loads((folder / "expected.json").read_text())["v_k14.cool"]
    file = headers.read_file((folder / "v_k14.cool").read_bytes())
    crcs = []
    for coded in file["frames"]:
        for name in ("residue", "motion"):
            if name in coded:
                part = coded[name]
                q = parameters.decode_parameters(part["header"], part["nn_payload"])
                grids = latents.decode_latents(part["header"], q, part["latent_payload"])
                crcs += [zlib.crc32(grid.astype(np.int8).tobytes()) for grid in grids[::-1]]
    assert crcs == [int(want["crc32"], 16) for want in expected["grids"]]
