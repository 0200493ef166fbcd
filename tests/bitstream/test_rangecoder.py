# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import contextlib

import constriction
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from numchic_bitstream import CorruptError, StreamError, TruncatedError, UsageError
from numchic_bitstream.arrays import I64
from numchic_bitstream.v5 import laplace, rangecoder
from numchic_bitstream.v5.laplace import decay_table, mu_table, scale_table
from numchic_bitstream.v5.rangecoder import (
    decode,
    decode_symbols,
    encode,
    start_decoder,
    words_from_bytes,
)
from reference import rangecoder as naive
from strategies import COMPILED, coded_symbols

Coded = tuple[I64, I64, I64]


@pytest.fixture
def interpreted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels as plain Python, also those that other kernels call."""
    for module in (laplace, rangecoder):
        for name, function in vars(module).items():
            if hasattr(function, "py_func"):
                monkeypatch.setattr(module, name, function.py_func)


def payload_of(words: list[int]) -> bytes:
    return naive.bytes_from_words(words)


def naive_encode(symbols: I64, mu_index: I64, scale_index: I64) -> bytes:
    encoder = naive.Encoder()
    for coded in zip(symbols.tolist(), mu_index.tolist(), scale_index.tolist(), strict=True):
        encoder.encode(*coded)
    return payload_of(encoder.finish())


def naive_decode(payload: bytes, mu_index: I64, scale_index: I64) -> list[int]:
    decoder = naive.Decoder(naive.words_from_bytes(payload))
    models = zip(mu_index.tolist(), scale_index.tolist(), strict=True)
    return [decoder.decode(*model) for model in models]


def random_symbols(n: int, seed: int) -> Coded:
    """Likely symbols, far ones and the extremes of everything."""
    source = np.random.default_rng(seed)

    def numbers(lowest: int, highest: int) -> I64:
        values = source.integers(lowest, highest, n, endpoint=True)
        extreme = source.random(n)
        return np.where(extreme < 0.02, lowest, np.where(extreme > 0.98, highest, values))

    mu_index, scale_index = numbers(0, 32767), numbers(0, 2560)
    likely = np.rint(source.laplace(mu_table()[mu_index], scale_table()[scale_index]))
    symbols = np.where(source.random(n) < 0.7, likely.clip(-64, 63), numbers(-64, 63))
    return symbols.astype(np.int64), mu_index, scale_index


# --- Worked examples, section 8.5: s, im, is, left, prob, lower after, range after --------------

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
0 16256 1409 8388608 3803953 7fffffffff800000 3a0b30ffffc5f4cf
-64 16491 604 0 1 7fffffffff800000 0000003a0b30ffff
-8 16367 1233 389 776 ffd832b700000000 00aff15800000000
-1 16390 1393 3149099 2841782 fff939044f01c800 001dcd4199349000
0 16608 1408 3643354 3038715 ffffb1cad95be34a 000565d29291e603
0 16861 1281 796824 1360634 fffff36bd58fb9fa 00007010e26a4694
-2 16047 1173 1389831 4957416 fffffcb46ea8fa28 0000211d229614d0
-4 16294 1457 1050316 682833 fffffec721dafd40 0000015904fb6dc2
4 16689 1370 15124194 835066 fffffffe277caac8 000000112c38e1e8
1 16696 754 30794 15812211 fffffffe2f8e4180 000000102f25bec4
-3 16469 1457 1230674 800094 5f75f98e00000000 c593ac4200000000
3 16764 1046 16111207 610979 1d31c659937a8e00 0731f82885d20600
"""
WORDS_A = [0x9E9C3081, 0xAEE89F50]
WORDS_B = [0x80000000, 0, 0x1D31C65A]
EXAMPLES = pytest.mark.parametrize(
    ("table", "words"), [(EXAMPLE_A, WORDS_A), (EXAMPLE_B, WORDS_B)], ids=["A", "B"]
)


def columns(table: str) -> Coded:
    rows = [line.split()[:3] for line in table.strip().splitlines()]
    symbols, mu_index, scale_index = np.array(rows, np.int64).T.copy()
    return symbols, mu_index, scale_index


def test_bytes_of_example_a() -> None:
    assert payload_of(WORDS_A) == bytes.fromhex("81309c9e509fe8ae")


@EXAMPLES
def test_worked_words(table: str, words: list[int]) -> None:
    symbols, *models = columns(table)
    assert encode(symbols, *models) == payload_of(words)
    assert decode(payload_of(words), *models).tolist() == symbols.tolist()


@EXAMPLES
def test_worked_states(table: str, words: list[int]) -> None:
    """After every symbol: the range of the table, and point - lower."""
    payload_words = words_from_bytes(payload_of(words))
    state = start_decoder(payload_words)
    scales = scale_table().astype(np.float64)
    for line in table.strip().splitlines():
        symbol, mu_index, scale_index, low, count = map(int, line.split()[:5])
        lower, width = (int(number, 16) for number in line.split()[5:])
        assert laplace.left(symbol, mu_index, scales[scale_index]) == low
        assert laplace.left(symbol + 1, mu_index, scales[scale_index]) == low + count
        nearest, lefts, found = (np.empty(n, np.int64) for n in (1, (4, 1), 1))
        done = decode_symbols(
            payload_words,
            state,
            np.array([mu_index]),
            np.array([scale_index]),
            scales,
            decay_table(),
            1,
            nearest,
            lefts,
            found,
        )
        assert (done, found[0], state[1]) == (1, symbol, width)
        position = int(state[2])
        window = [*words, 0, 0, 0][position - 2 : position]
        assert int(state[0]) == ((window[0] << 32 | window[1]) - lower) % 2**64


# --- Round trips and twins ---------------------------------------------------------------------


@given(coded_symbols())
def test_round_trip(coded: Coded) -> None:
    symbols, *models = coded
    payload = encode(symbols, *models)
    assert len(payload) % 4 == 0
    assert decode(payload, *models).tolist() == symbols.tolist()


@given(coded_symbols(20))
def test_payload_equals_the_naive_one(coded: Coded) -> None:
    assert encode(*coded) == naive_encode(*coded)


@given(st.lists(st.integers(0, 2**32 - 1), max_size=8), coded_symbols(20))
def test_any_payload_decodes_as_the_naive_twin_says(words: list[int], coded: Coded) -> None:
    _, *models = coded
    payload = payload_of(words)
    try:
        found = decode(payload, *models).tolist()
    except CorruptError:
        with pytest.raises(ValueError, match="quantile"):
            naive_decode(payload, *models)
    except TruncatedError:
        pass  # the naive twin reads zeros for ever
    else:
        assert found == naive_decode(payload, *models)


@pytest.mark.parametrize("seed", range(20))
def test_long_payloads_equal_the_naive_ones(seed: int) -> None:
    symbols, *models = random_symbols(500 if COMPILED else 100, seed)
    payload = encode(symbols, *models)
    assert payload == naive_encode(symbols, *models)
    assert decode(payload, *models).tolist() == symbols.tolist()


# Symbols of one model whose interval straddles a word boundary for a long time.
BOUNDARY = payload_of([0x80000000] + [0] * 40)


@pytest.mark.parametrize(("last", "first_word"), [(63, 0x80000000), (-64, 0x7FFFFFFF)])
def test_a_symbol_settles_many_words(last: int, first_word: int) -> None:
    mu_index, scale_index = np.full(101, 16384), np.full(101, 2000)
    symbols = decode(BOUNDARY, mu_index, scale_index).astype(np.int64)
    symbols[-1] = last
    encoder = naive.Encoder()
    for symbol in symbols.tolist():
        longest = encoder.pending
        encoder.encode(symbol, 16384, 2000)
    assert longest > 10
    payload = encode(symbols, mu_index, scale_index)
    assert payload == payload_of(encoder.finish())
    assert words_from_bytes(payload)[0] == first_word
    assert np.array_equal(decode(payload, mu_index, scale_index), symbols)


def test_the_end_settles_many_words() -> None:
    """With or without a carry, depending on where the symbols end."""
    mu_index, scale_index = np.full(100, 16384), np.full(100, 2000)
    symbols = decode(BOUNDARY, mu_index, scale_index).astype(np.int64)
    first_words = set()
    for n in range(1, 101):
        payload = encode(symbols[:n], mu_index[:n], scale_index[:n])
        assert payload == naive_encode(symbols[:n], mu_index[:n], scale_index[:n])
        first_words.add(int(words_from_bytes(payload)[0]))
    assert {0x7FFFFFFF, 0x80000000} <= first_words


@pytest.mark.usefixtures("interpreted")
@given(coded_symbols(20))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_plain_python_does_the_same(coded: Coded) -> None:
    symbols, *models = coded
    payload = encode(symbols, *models)
    assert payload == naive_encode(symbols, *models)
    assert decode(payload, *models).tolist() == symbols.tolist()


@pytest.mark.parametrize("seed", range(4))
def test_constriction_writes_and_reads_the_same(seed: int) -> None:
    """The entropy coder of the reference, with its own quantised Laplace model."""
    symbols, mu_index, scale_index = random_symbols(50_000 if COMPILED else 5_000, seed)
    family = constriction.stream.model.QuantizedLaplace(-64, 63)
    models = (
        table.astype(np.float64) for table in (mu_table()[mu_index], scale_table()[scale_index])
    )
    mu, scale = models
    encoder = constriction.stream.queue.RangeEncoder()
    encoder.encode(symbols.astype(np.int32), family, mu, scale)
    words = encoder.get_compressed()
    payload = encode(symbols, mu_index, scale_index)
    assert np.array_equal(words_from_bytes(payload), words)
    assert np.array_equal(decode(words.astype("<u4").tobytes(), mu_index, scale_index), symbols)
    decoder = constriction.stream.queue.RangeDecoder(words_from_bytes(payload))
    assert np.array_equal(decoder.decode(family, mu, scale), symbols)


def test_rows_of_extremes() -> None:
    for symbol in (-64, 63):
        for mu_index in (0, 32767):
            for scale_index in (0, 2560):
                n = 100
                coded = (np.full(n, x) for x in (symbol, mu_index, scale_index))
                symbols, *models = coded
                payload = encode(symbols, *models)
                assert decode(payload, *models).tolist() == [symbol] * n


# --- Errors ------------------------------------------------------------------------------------

ONE_MODEL = np.array([16384]), np.array([1280])


@given(coded_symbols(30))
def test_a_cut_payload_never_gives_the_same_symbols(coded: Coded) -> None:
    """Except that a last word of zero may be missing: the decoder reads zeros anyway."""
    symbols, *models = coded
    payload = encode(symbols, *models)
    for n in range(0, len(payload), 4):
        with contextlib.suppress(CorruptError, TruncatedError):
            if np.array_equal(decode(payload[:n], *models), symbols):
                assert payload[n:] == bytes(4)


def test_reading_too_far_tells_the_size() -> None:
    symbols, *models = random_symbols(200, seed=1)
    payload = encode(symbols, *models)
    with pytest.raises(TruncatedError) as caught:
        decode(payload[:-8], *models)
    error = caught.value
    assert error.offset == 0
    assert error.found == f"{len(payload) - 8} bytes"
    assert error.allowed in {f">= {len(payload) - 4} bytes", f">= {len(payload)} bytes"}


@pytest.mark.parametrize("words", [[0xFFFFFFFF, 0xFFFFFFFF], [0xFFFFFFFF, 0xFF000000]])
def test_an_invalid_quantile_is_corrupt(words: list[int]) -> None:
    """Quantiles of 2**24 and more; the range starts with 2**64 - 1, not with 2**64."""
    with pytest.raises(CorruptError) as caught:
        decode(payload_of(words), *ONE_MODEL)
    assert (caught.value.field, caught.value.found) == ("latent_payload", "symbol 0")


def test_the_largest_quantile() -> None:
    assert decode(payload_of([0xFFFFFFFF, 0xFEFFFFFF]), *ONE_MODEL).tolist() == [63]


@pytest.mark.parametrize(
    ("field", "coded"),
    [
        ("symbols", (-65, 0, 0)),
        ("symbols", (64, 0, 0)),
        ("mu_index", (0, -1, 0)),
        ("mu_index", (0, 32768, 0)),
        ("scale_index", (0, 0, -1)),
        ("scale_index", (0, 0, 2561)),
    ],
)
def test_numbers_out_of_range(field: str, coded: tuple[int, int, int]) -> None:
    symbols, *models = (np.array([0, number, 0]) for number in coded)
    with pytest.raises(UsageError) as caught:
        encode(symbols, *models)
    assert caught.value.field == field
    if field != "symbols":
        with pytest.raises(UsageError):
            decode(bytes(8), *models)


def test_models_of_different_length() -> None:
    models = np.array([16384, 16384]), np.array([1280])
    with pytest.raises(UsageError):
        encode(np.array([0, 0]), *models)
    with pytest.raises(UsageError):
        decode(bytes(8), *models)


def test_symbols_and_models_of_different_length() -> None:
    mu_index, scale_index = np.full(9, 16384), np.full(9, 1280)
    with pytest.raises(UsageError):
        encode(np.array([0, 0, 0]), mu_index[:2], scale_index[:2])


def test_no_symbols() -> None:
    nothing = np.zeros(0, np.int64)
    assert encode(nothing, nothing, nothing) == b""
    assert decode(b"", nothing, nothing).size == 0


def test_a_payload_of_broken_words() -> None:
    with pytest.raises(StreamError):
        decode(bytes(5), *ONE_MODEL)
