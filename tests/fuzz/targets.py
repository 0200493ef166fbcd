# SPDX-License-Identifier: BSD-3-Clause
"""What is fuzzed: functions that take any bytes and return the name of the outcome.

An exception that leaves a target is a finding: whatever is not a result or a typed error, an error
that does not say where, a warning (run with warnings as errors), and a result that contradicts the
format (:class:`FindingError`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import zlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

import numchic
from fuzz import decoders
from numchic.images import encode_image
from numchic.latents import LatentDecoder, decode_latents, encode_latents
from numchic.pillow_image import FORMAT, STILL_PREFIX, CoolChicImageFile
from numchic_bitstream import (
    CoolChic,
    CorruptError,
    LimitError,
    Limits,
    NumchicError,
    Stream,
    StreamError,
    UnsupportedError,
    append_trailer,
    dump,
    read_parameters,
    read_stream,
    read_trailer,
    write_parameters,
    write_stream,
)
from numchic_bitstream.bits import BitReader, Entry
from numchic_bitstream.headers import (
    read_coolchic_header,
    read_frame_header,
    read_video_header,
    write_coolchic_header,
    write_frame_header,
    write_video_header,
)
from numchic_bitstream.laplace import N_MU, N_SCALES, decay_table, scale_table
from numchic_bitstream.rangecoder import (
    check_end,
    decode_symbols,
    encode,
    start_decoder,
    words_from_bytes,
)
from numchic_bitstream.rangecoder import decode as decode_payload

I64 = NDArray[np.int64]

HEADER_LIMITS = Limits(
    stream_bytes=1 << 16, pixels=1 << 22, frames=8, macs=1 << 34, metadata_bytes=512
)
LIMITS = Limits(stream_bytes=1 << 14, pixels=1 << 10, frames=16, macs=1 << 27, memory_bytes=1 << 26)


class FindingError(AssertionError):
    """A result that cannot be right."""


def require(condition: bool, message: str) -> None:
    """Raise :class:`FindingError` unless the condition holds."""
    if not condition:
        raise FindingError(message)


def _error(error: NumchicError, n_bytes: int) -> str:
    """Outcome of a typed error, which must be of a kind that a stream can cause."""
    if isinstance(error, StreamError):
        located = error.field is not None and error.offset is not None
        if not located or not 0 <= error.offset <= n_bytes:  # type: ignore[operator]
            raise FindingError(f"no field, or no place among {n_bytes} bytes: {error}")
    elif not isinstance(error, LimitError | UnsupportedError):
        raise FindingError(f"{type(error).__name__} is not the stream's fault: {error}")
    field = (error.field or "").partition("[")[0]
    return f"{type(error).__name__}: {error.reason}: {field}"


# --- headers -------------------------------------------------------------------------------------

_READERS: tuple[tuple[Callable[..., Any], Callable[[Any], bytes]], ...] = (
    (read_video_header, write_video_header),
    (read_frame_header, write_frame_header),
    (read_coolchic_header, write_coolchic_header),
)


def headers(data: bytes) -> str:
    """Read a single header and write it again.

    The first byte says which (modulo 3) and at which offset it starts (the highest two bits).
    """
    if not data:
        return "empty"
    kind, body = data[0] % 3, data[1:]
    offset = min(data[0] >> 6, len(body))
    read, write = _READERS[kind]
    try:
        parsed = read(body, offset)
    except StreamError as error:
        return _error(error, len(body))
    written = write(parsed.header)
    if written == body[offset : offset + parsed.header.n_bytes_header]:
        return f"canonical {kind}"
    require(not _is_canonical(body, parsed.entries), "a canonical header is written otherwise")
    expected = dataclasses.replace(parsed.header, n_bytes_header=len(written))
    require(read(written, 0).header == expected, "a written header reads otherwise")
    return f"header {kind}"


def _is_canonical(data: bytes, entries: Sequence[Entry]) -> bool:
    """Whether a header has no extra bytes, no padding that is not zero, and no negative zero."""
    start, last = entries[0].bit_offset, entries[-1]
    end = last.bit_offset + last.n_bits
    sizes = [entry.value for entry in entries if entry.field == "n_bytes_header"]
    signed = [e for e in entries if e.field.startswith("global_flow") and e.value == 0]
    return (
        sizes == [(end + 7) // 8 - start // 8]
        and BitReader(data, end).read(-end % 8, "padding") == 0
        and all(BitReader(data, e.bit_offset).read(e.n_bits, e.field) == 0 for e in signed)
    )


def streams(data: bytes) -> str:
    """Read a stream, without its payloads, and write it again."""
    sections: list[tuple[Entry, ...]] = []
    try:
        stream = read_stream(
            data, HEADER_LIMITS, listener=lambda _, entries: sections.append(entries)
        )
    except NumchicError as error:
        return _error(error, len(data))
    written = write_stream(stream)
    if written == data[: stream.n_bytes]:
        return "canonical stream"
    canonical = all(_is_canonical(data, entries) for entries in sections)
    require(not canonical, "a canonical stream is written otherwise")
    again = read_stream(written, HEADER_LIMITS)
    require(_essence(again) == _essence(stream), "a written stream reads otherwise")
    require(write_stream(again) == written, "a written stream is written otherwise")
    return "stream"


def _essence(stream: Stream) -> Any:
    """Everything but sizes of headers and positions."""

    def bare(header: Any) -> Any:
        return dataclasses.replace(header, n_bytes_header=0)

    return bare(stream.header), [
        (bare(frame.header), bare(part.header), part.nn_payload, part.latent_payload)
        for frame in stream.frames
        for part in frame.parts
    ]


def trailer(data: bytes) -> str:
    """Read a trailer and write it again; in one of four look whether damage is noticed."""
    kinds: list[int] = []

    def listen(_: str, entries: tuple[Entry, ...]) -> None:
        kinds.extend(int(str(e.value)) for e in entries if e.field.endswith(".type"))

    try:
        stream = read_stream(data, HEADER_LIMITS)
        found = read_trailer(data, stream, HEADER_LIMITS, listener=listen)
    except NumchicError as error:
        return _error(error, len(data))
    if found is None:
        return "no trailer"
    proper = data[: stream.n_bytes]
    written = append_trailer(proper, found.latents_crc, found.samples, found.metadata)
    again = read_trailer(written, read_stream(written, HEADER_LIMITS))
    require(again == found, "a written trailer reads otherwise")
    # Blocks of known types are written first, in the order of their types.
    canonical = kinds == sorted(kinds, key=lambda kind: min(kind, 4))
    require(written == data or not canonical, "a canonical trailer is written otherwise")
    if zlib.crc32(data) % 4 == 0:
        _damage(data, zlib.crc32(data) // 4 % (8 * len(data)))
    return f"trailer, {min(len(kinds), 5)} blocks"


def _damage(data: bytes, bit: int) -> None:
    """Flip one bit, and cut the data at its byte; a trailer must not allow either."""
    flipped = bytearray(data)
    flipped[bit // 8] ^= 1 << bit % 8
    for damaged in (bytes(flipped), data[: bit // 8]):
        with contextlib.suppress(NumchicError):
            read_trailer(damaged, read_stream(damaged, HEADER_LIMITS))
            raise FindingError(f"damage of bit {bit} is not noticed")


def info(data: bytes) -> str:
    """Describe and list a stream."""
    try:
        lines = list(dump(data, HEADER_LIMITS))
        described = numchic.read_info(data, limits=HEADER_LIMITS)
    except NumchicError as error:
        return _error(error, len(data))
    json.dumps(described.to_dict(), allow_nan=False)
    require(len(lines) >= 20, "fields are missing")
    require(described.n_bytes + described.trailing_bytes == len(data), "bytes are missing")
    return f"{described.n_frames} frames, {described.data_type}, {described.bitdepth}"


# --- payloads ------------------------------------------------------------------------------------


def parameters(data: bytes) -> str:
    """Decode a network payload and code it again; the first byte is architecture and padding."""
    if not data:
        return "empty"
    header = decoders.padded_header(data[0])
    payload = data[1:]
    try:
        found = read_parameters(header, payload)
    except StreamError as error:
        return _error(error, len(payload))
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
        return _error(error, len(payload))
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
        return _error(error, len(payload))
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


# --- pictures ------------------------------------------------------------------------------------


def decode(data: bytes) -> str:
    """Decode a picture; one in sixteen twice, the second time with two threads."""
    try:
        picture = numchic.decode(data, limits=LIMITS, threads=1)
    except NumchicError as error:
        return _error(error, len(data))
    height, width = picture.height, picture.width
    chroma = (height // 2, width // 2) if picture.data_type == "yuv420" else (height, width)
    shapes = [plane.shape for plane in picture.planes]
    require(shapes == [(height, width), chroma, chroma], f"planes of {shapes}")
    highest = max(int(plane.max()) for plane in picture.planes)
    require(highest < 1 << picture.bitdepth, f"sample {highest}")
    if zlib.crc32(data) % 16 == 0:
        again = numchic.decode(data, limits=LIMITS, threads=2)
        require(again.to_bytes() == picture.to_bytes(), "another picture the second time")
    if picture.metadata is not None and (picture.data_type, picture.bitdepth) == ("rgb", 8):
        encode_image(picture, "png")
    return f"picture, {picture.data_type}, {picture.bitdepth}"


def pillow(data: bytes) -> str:
    """Open, load and copy a picture with Pillow."""
    if FORMAT not in Image.OPEN:
        numchic.register_pillow()
    CoolChicImageFile.limits = LIMITS
    file = io.BytesIO(data)
    try:
        image = Image.open(file, formats=(FORMAT,))
    except (LimitError, UnsupportedError) as error:
        return _error(error, len(data))
    except UnidentifiedImageError:
        return _unidentified(data)
    try:
        image.load()
    except (LimitError, UnsupportedError) as error:
        return _error(error, len(data))
    except OSError as error:
        require(isinstance(error.__cause__, StreamError), f"not from us: {error!r}")
        return f"OSError: {_error(error.__cause__, len(data))}"  # type: ignore[arg-type]
    require(image.copy().tobytes() == image.tobytes(), "a copy differs")
    require(image.info.keys() <= {"icc_profile", "exif", "text"}, "unknown metadata")
    return f"image, {image.mode}"


def _unidentified(data: bytes) -> str:
    """Look behind Pillow's back: it says the same for any exception while opening."""
    if not data.startswith(STILL_PREFIX):
        return "not ours"
    try:
        CoolChicImageFile(io.BytesIO(data))
    except SyntaxError as error:
        require(isinstance(error.__cause__, StreamError), f"not from us: {error.__cause__!r}")
        return f"SyntaxError: {_error(error.__cause__, len(data))}"  # type: ignore[arg-type]
    raise FindingError("Pillow cannot open it but the plugin can")


class Target(NamedTuple):
    """A function and the length of its longest inputs."""

    run: Callable[[bytes], str]
    max_size: int


TARGETS = {
    "headers": Target(headers, 128),
    "streams": Target(streams, 1536),
    "trailer": Target(trailer, 1536),
    "info": Target(info, 1536),
    "parameters": Target(parameters, 256),
    "rangecoder": Target(rangecoder, 256),
    "latents": Target(latents, 1536),
    "decode": Target(decode, 1536),
    "pillow": Target(pillow, 1536),
}
