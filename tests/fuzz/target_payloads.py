# SPDX-License-Identifier: BSD-3-Clause
"""Targets that decode payloads with headers and networks that are given."""

from __future__ import annotations

from typing import Any

import numpy as np

from fuzz import decoders
from fuzz.outcome import error_outcome, require
from numchic.v5.latents import LatentDecoder, decode_latents, encode_latents
from numchic_bitstream import (
    CoolChic,
    CorruptError,
    StreamError,
    read_parameters,
    write_parameters,
)
from numchic_bitstream.arrays import I64
from numchic_bitstream.v5.laplace import N_MU, N_SCALES, decay_table, scale_table
from numchic_bitstream.v5.rangecoder import (
    check_end,
    decode_symbols,
    encode,
    start_decoder,
    words_from_bytes,
)
from numchic_bitstream.v5.rangecoder import decode as decode_payload


def parameters(data: bytes) -> str:
    """Decode a network payload and code it again; the first byte is architecture and padding."""
    if not data:
        return "empty"
    header = decoders.padded_header(data[0])
    payload = data[1:]
    try:
        found = read_parameters(header, payload)
    except StreamError as error:
        return error_outcome(error, len(payload))
    coded = write_parameters(header, found)
    require(coded == (payload, header.nn_n_bit_pad), "parameters are coded otherwise")
    return "parameters"


def latents(data: bytes) -> str:
    """Decode a latent payload and encode it again; the first byte names the decoder."""
    if not data:
        return "empty"
    header, networks = decoders.decoder(data[0])
    payload = data[1:]
    coolchic = CoolChic(header, b"", payload)
    try:
        decoder = LatentDecoder(coolchic, networks)
        for k in reversed(range(len(decoder.grids))):
            for _ in decoder.decode_grid(k):
                pass
    except StreamError as error:
        return error_outcome(error, len(payload))
    coded = encode_latents(header, networks, decoder.grids)
    require(coded == _encoded(decoder._coder.words, decoder._coder.state), "coded otherwise")
    if coded != payload:
        grids = decode_latents(CoolChic(header, b"", coded), networks)
        same = all(map(np.array_equal, grids, decoder.grids))
        require(same, "what was coded decodes otherwise")
    return f"latents, {'same' if coded == payload else 'shorter or longer'} payload"


def rangecoder(data: bytes) -> str:
    """Decode symbols with any models and encode them again.

    One byte is the number of models, four bytes are a model, the rest is the payload.
    """
    n = min(data[0] if data else 0, (len(data) - 1) // 4)
    if n < 1:
        return "empty"
    models = np.frombuffer(data, ">u2", 2 * n, 1).astype(np.int64)
    mu_index, scale_index = models[::2] % N_MU, models[1::2] % N_SCALES
    payload = data[1 + 4 * n :]
    try:
        words, state, symbols = _decode_models(payload, mu_index, scale_index)
    except StreamError as error:
        return error_outcome(error, len(payload))
    coded = encode(symbols, mu_index, scale_index)
    require(coded == _encoded(words, state), "coded otherwise")
    if coded != payload:
        again = decode_payload(coded, mu_index, scale_index)
        require(np.array_equal(again, symbols), "what was coded decodes otherwise")
    return f"{min(n, 9)} symbols, {min(len(payload) - len(coded), 8)} bytes of slack"


def _decode_models(payload: bytes, mu_index: I64, scale_index: I64) -> tuple[Any, Any, Any]:
    """The steps of ``rangecoder.decode``; returns words, state at the end, and symbols."""
    words = words_from_bytes(payload)
    state = start_decoder(words)
    n = mu_index.size
    symbols, nearest, lefts = (
        np.empty(n, np.int64),
        np.empty(n, np.int64),
        np.empty((4, n), np.int64),
    )
    scales = scale_table().astype(np.float64)
    done = decode_symbols(
        words, state, mu_index, scale_index, scales, decay_table(), n, nearest, lefts, symbols
    )
    if done < n:
        raise CorruptError("invalid range coder state", "latent_payload", 0, f"symbol {done}")
    check_end(state, words, 0)
    return words, state, symbols


def _encoded(words: Any, state: Any) -> bytes:
    """Return what the encoder must write, from where the decoder stopped (section 8.4).

    The decoder's interval starts at the payload, as one long number with as many words as were
    asked for, minus ``difference``. The encoder writes the smallest number of that interval that
    ends in a zero word, without that word; and a word more when zeros are all that distinguishes it
    from the end of the interval.
    """
    difference, width, n_words = (int(number) for number in state)
    used = words[:n_words].astype(">u4").tobytes()
    lower = int.from_bytes(used.ljust(4 * n_words, b"\0"), "big") - difference
    require(lower >= 0, "the interval starts below zero")
    require(difference < width, "the payload is outside of its interval")
    number = -(-lower >> 32)
    coded = np.frombuffer(number.to_bytes(4 * (n_words - 1), "big"), ">u4").astype("<u4").tobytes()
    return coded + bytes(4) * ((lower + width) >> 32 == number)
