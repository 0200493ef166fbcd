# SPDX-License-Identifier: BSD-3-Clause
"""Range coder of the latents, encoder and decoder side by side (coolchic-5, section 8.4). Exact.

The payload is a sequence of 32-bit words, each stored little-endian. The coder keeps an interval
``lower``, ``width`` of 64-bit numbers; a symbol with counts left(s) .. left(s + 1) - 1 narrows it::

    scale = width >> 24
    lower = lower + scale * left(s)             (mod 2**64)
    width = scale * (left(s + 1) - left(s))

and when ``width`` drops below 2**32 one word is shifted out. The decoder needs only
``difference = point - lower``, where ``point`` is the part of the payload inside the window.

A word that the encoder cannot decide yet, because the interval straddles a word boundary, is kept
in ``first`` and ``pending`` words are owed until a carry does or does not arrive.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from numchic_bitstream.arrays import (
    F64_1D,
    F64_2D,
    I8,
    I64,
    I64_1D,
    I64_2D,
    U32,
    U32_1D,
    U64,
    U64_1D,
)
from numchic_bitstream.errors import CorruptError, TruncatedError, UsageError
from numchic_bitstream.kernels import kernel
from numchic_bitstream.v5.laplace import (
    MAX_SYMBOL,
    MIN_SYMBOL,
    N_MU,
    N_SCALES,
    decay_table,
    left,
    nearest_symbols,
    scale_table,
)

# Everything below stays in uint64: mixing with int64 means int64 compiled but float64 interpreted.
_ZERO = np.uint64(0)
_ONE = np.uint64(1)
_24 = np.uint64(24)
_32 = np.uint64(32)
_WORD = np.uint64(1 << 32)
_MAX = np.uint64(2**64 - 1)


def words_from_bytes(payload: bytes, offset: int = 0) -> U32:
    """Return the words of a payload that starts at byte ``offset`` of its stream.

    Raises
    ------
    CorruptError
        The length is not a multiple of 4.
    """
    if len(payload) % 4:
        raise CorruptError(
            "not a whole number of words", "latent_payload", offset, f"{len(payload)} bytes", "4 n"
        )
    return np.frombuffer(payload, "<u4").astype(np.uint32)


def start_decoder(words: U32) -> U64:
    """State of a decoder before the first symbol: uint64[3] difference, width, words read."""
    head = [int(word) for word in words[:2]] + [0, 0]
    return np.array([head[0] << 32 | head[1], 2**64 - 1, 2], np.uint64)


@kernel(entry=True)
def decode_symbols(
    words: U32_1D,
    state: U64_1D,
    mu_index: I64_1D,
    scale_index: I64_1D,
    scales: F64_1D,
    decay: F64_2D,
    n: int,
    nearest: I64_1D,
    lefts: I64_2D,
    symbols: I64_1D,
) -> int:
    """Decode n symbols with given models.

    Parameters
    ----------
    words : uint32[]
    state : uint64[3]
        State from :func:`start_decoder`; it is updated.
    mu_index, scale_index : int64[>= n]
    scales, decay : float64[2561], float64[2561, 257]
    n : int
    nearest, lefts : int64[>= n], int64[4, >= n]
        Scratch.
    symbols : int64[>= n]
        Output, -64 .. 63.

    Returns
    -------
    int
        Number of symbols decoded; less than n when the next quantile is 2**24 or more.

    Notes
    -----
    Comparing ``difference`` with ``scale * left`` replaces the division of the specification. Three
    symbols out of four are settled by the four bounds computed ahead for the whole batch.
    """
    nearest_symbols(mu_index, scale_index, decay, n, nearest, lefts)
    difference, width, position = state[0], state[1], state[2]
    n_words = np.uint64(words.size)
    done = n
    for i in range(n):
        scale = width >> _24
        if difference >= scale << _24:
            done = i
            break
        symbol = nearest[i]
        low = lefts[1, i]
        high = lefts[2, i]
        if difference < scale * np.uint64(low):
            symbol -= 1
            high = low
            low = lefts[0, i]
            while difference < scale * np.uint64(low):
                symbol -= 1
                high = low
                low = left(symbol, mu_index[i], scales[scale_index[i]])
        elif difference >= scale * np.uint64(high):
            symbol += 1
            low = high
            high = lefts[3, i]
            while difference >= scale * np.uint64(high):
                symbol += 1
                low = high
                high = left(symbol + 1, mu_index[i], scales[scale_index[i]])
        symbols[i] = symbol
        difference -= scale * np.uint64(low)
        width = scale * np.uint64(high - low)
        if width < _WORD:
            width = width << _32
            difference = difference << _32
            if position < n_words:
                difference |= np.uint64(words[position])
            position += _ONE
    state[0] = difference
    state[1] = width
    state[2] = position
    return done


def check_end(state: U64, words: U32, offset: int) -> None:
    """Check that a decoder that has read all symbols did not run past its payload.

    The encoder writes one word per renormalisation and one or two at the end, so a decoder, which
    starts by reading two, asks for at most one word more than there are.

    Raises
    ------
    TruncatedError
        More than one word beyond the payload was asked for.
    """
    if int(state[2]) > max(words.size, 1) + 1:
        raise TruncatedError(
            "the payload ends before the last symbol",
            "latent_payload",
            offset,
            f"{4 * words.size} bytes",
            f">= {4 * (int(state[2]) - 1)} bytes",
        )


@kernel(inline=True)
def _add(a: np.uint64, b: np.uint64) -> np.uint64:
    """Sum modulo 2**64, without an overflow that interpreted NumPy would warn of."""
    room = _MAX - a
    return a + b if b <= room else b - room - _ONE


@kernel(entry=True)
def encode_symbols(
    symbols: I64_1D, mu_index: I64_1D, scale_index: I64_1D, scales: F64_1D, words: U32_1D
) -> int:
    """Encode symbols with given models, and finish the stream.

    Parameters
    ----------
    symbols, mu_index, scale_index : int64[n]
    scales : float64[2561]
    words : uint32[n + 2]
        Output.

    Returns
    -------
    int
        Number of words written.
    """
    lower = _ZERO
    width = _MAX
    first = _ZERO
    pending = 0
    n_words = 0
    for i in range(symbols.size):
        b = scales[scale_index[i]]
        low = left(symbols[i], mu_index[i], b)
        high = left(symbols[i] + 1, mu_index[i], b)
        scale = width >> _24
        width = scale * np.uint64(high - low)
        new = _add(lower, scale * np.uint64(low))
        if pending > 0 and _add(new, width) > new:
            n_words = _settle(words, n_words, first, pending, bool(new < lower))
            pending = 0
        lower = new
        if width < _WORD:
            width = width << _32
            word = lower >> _32
            lower = (lower & (_WORD - _ONE)) << _32
            if pending > 0:
                pending += 1
            elif _add(lower, width) > lower:
                words[n_words] = word
                n_words += 1
            else:
                pending = 1
                first = word
    if symbols.size == 0:
        return 0
    point = _add(lower, _WORD - _ONE)
    if pending > 0:
        n_words = _settle(words, n_words, first, pending, bool(point < lower))
    words[n_words] = point >> _32
    n_words += 1
    if _add(lower, width) >> _32 == point >> _32:
        words[n_words] = 0
        n_words += 1
    return n_words


@kernel()
def _settle(words: U32, n_words: int, first: np.uint64, pending: int, carry: bool) -> int:
    """Write the pending words, now that it is known whether a carry reaches them."""
    if carry:
        words[n_words] = (first + _ONE) & (_WORD - _ONE)
    else:
        words[n_words] = first
    for i in range(n_words + 1, n_words + pending):
        words[i] = 0 if carry else 0xFFFFFFFF
    return n_words + pending


def encode(symbols: NDArray[np.integer], mu_index: I64, scale_index: I64) -> bytes:
    """Encode symbols; the models may come from anywhere.

    Parameters
    ----------
    symbols : integer[n]
        -64 .. 63.
    mu_index, scale_index : int64[n]
        0 .. 32767 and 0 .. 2560.

    Returns
    -------
    bytes
        A whole payload, a multiple of 4 long.

    Raises
    ------
    UsageError
        A number is out of range.

    Examples
    --------
    >>> encode(np.array([0, 1]), np.array([16384, 16500]), np.array([1280, 900])).hex()
    '57e06889'
    """
    wide = np.ascontiguousarray(symbols, np.int64)
    _check_range("symbols", wide, MIN_SYMBOL, MAX_SYMBOL)
    mu_index, scale_index = _check_models(mu_index, scale_index)
    if wide.shape != mu_index.shape:
        raise UsageError("the arrays differ in length", "symbols", None, wide.shape)
    words = np.empty(wide.size + 2, np.uint32)
    n_words = encode_symbols(wide, mu_index, scale_index, scale_table().astype(np.float64), words)
    return words[:n_words].astype("<u4").tobytes()


def decode(payload: bytes, mu_index: I64, scale_index: I64) -> I8:
    """Decode as many symbols as there are models; the inverse of :func:`encode`.

    Raises
    ------
    CorruptError, TruncatedError
        The payload is impossible, or too short.
    UsageError
        A model is out of range.

    Examples
    --------
    >>> models = np.array([16384, 16500]), np.array([1280, 900])
    >>> decode(bytes.fromhex("57e06889"), *models)
    array([0, 1], dtype=int8)
    """
    mu_index, scale_index = _check_models(mu_index, scale_index)
    words = words_from_bytes(payload)
    state = start_decoder(words)
    n = mu_index.size
    symbols = np.empty(n, np.int64)
    nearest, lefts = np.empty(n, np.int64), np.empty((4, n), np.int64)
    scales = scale_table().astype(np.float64)
    done = decode_symbols(
        words, state, mu_index, scale_index, scales, decay_table(), n, nearest, lefts, symbols
    )
    if done < n:
        raise CorruptError("invalid range coder state", "latent_payload", 0, f"symbol {done}")
    check_end(state, words, 0)
    return symbols.astype(np.int8)


def _check_models(mu_index: I64, scale_index: I64) -> tuple[I64, I64]:
    """Check models and give them in the form of the kernels."""
    if mu_index.shape != scale_index.shape:
        raise UsageError("the arrays differ in length", "scale_index", None, scale_index.shape)
    _check_range("mu_index", mu_index, 0, N_MU - 1)
    _check_range("scale_index", scale_index, 0, N_SCALES - 1)
    return np.ascontiguousarray(mu_index, np.int64), np.ascontiguousarray(scale_index, np.int64)


def _check_range(name: str, values: I64, lowest: int, highest: int) -> None:
    if values.size and not lowest <= values.min() <= values.max() <= highest:
        raise UsageError("out of range", name, None, None, f"{lowest}..{highest}")
