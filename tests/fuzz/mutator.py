# SPDX-License-Identifier: BSD-3-Clause
"""Mutations that know the format: header fields, payloads with their sizes, words, whole decoders.

Mutations work on bits in place, at positions taken from the header tables, and parse as little as
possible: an input that is broken already is broken further.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from fuzz import decoders
from fuzz.layout import TABLES, Part, peek, poke, set_value, split, spots_at
from fuzz.networks import change_parameters, rebuild
from fuzz.older import change_stream
from fuzz.trailers import TAIL, change_trailer, seal
from numchic_bitstream import StreamError
from numchic_bitstream.v5.headers import read_coolchic_header

Native = Callable[[bytes, int], bytes]

_KINDS = tuple(TABLES)
# Targets whose inputs have a byte before what is read; those of the others are streams.
_SELECTED = {"headers", "parameters", "latents", "rangecoder"}
_SIZE_FIELDS = {"nn": ("nn_n_bytes", 1), "latent": ("n_bytes_latent", 2)}


class Mutator:
    """Changes inputs of one target.

    Parameters
    ----------
    target : str
        Name of the target, which tells what its inputs look like.
    pool : sequence of bytes
        Inputs to take pieces from.
    native : callable, optional
        Another source of plain mutations: takes bytes and the maximum size.
    """

    def __init__(self, target: str, pool: Sequence[bytes], native: Native | None = None) -> None:
        self.target = target
        self.pool = pool or [b""]
        self.native = native
        self.rng = Random()
        self.n_prefix = int(target in _SELECTED)

    def __call__(self, data: bytes, max_size: int, seed: int) -> bytes:
        """Return a mutation, the same for the same arguments (but for ``native``)."""
        self.rng.seed(seed)
        for _ in range(self.rng.choice((1, 1, 1, 2, 2, 4))):
            data = self._mutate(data, max_size)
        if data.endswith(TAIL) and self.n_prefix == 0 and self.rng.random() < 0.7:
            data = seal(data)
        return data[:max_size]

    def crossover(self, first: bytes, second: bytes, max_size: int, seed: int) -> bytes:
        """Return a mixture of two inputs."""
        self.rng.seed(seed)
        if self.n_prefix == 0 and self.target != "v4" and self.rng.random() < 0.6:
            return self._swap_part(first, second)[:max_size]
        return self._splice(first, second)[:max_size]

    def _mutate(self, data: bytes, max_size: int) -> bytes:
        if len(data) > 1 and self.rng.random() < 0.6:
            return self._structured(data)
        if self.native is not None and self.rng.random() < 0.5:
            return self.native(data, max_size)
        return self._plain(data)

    def _structured(self, data: bytes) -> bytes:
        n = self.n_prefix
        if self.target == "v4":
            return change_stream(self.rng, data) or self._plain(data)
        if n == 0:
            return self._stream(data)
        if self.target == "headers":
            out = bytearray(data)
            self._change_field(out, _KINDS[data[0] % 3], n + (data[0] >> 6))
            return bytes(out)
        if self.target == "parameters":
            coded = change_parameters(self.rng, decoders.padded_header(data[0]), data[n:])
            if coded is not None:
                return bytes([data[0] & ~7 | coded[1]]) + coded[0]
            return self._plain(data)
        return self._latents(data)

    # Plain bytes.

    def _plain(self, data: bytes) -> bytes:
        rng = self.rng
        out = bytearray(data)
        at = rng.randrange(len(out) + 1)
        n = rng.choice((1, 1, 1, 2, 4, 8, 16))
        match rng.randrange(8):
            case 0 | 1 if at < len(out):
                out[at] ^= 1 << rng.randrange(8)
            case 2 if at < len(out):
                out[at] = rng.choice((0, 1, 127, 128, 255, rng.randrange(256)))
            case 3:
                out[at:at] = rng.randbytes(n)
            case 4:
                del out[at : at + n]
            case 5:
                source = rng.randrange(len(out) + 1)
                out[at : at + rng.choice((0, n))] = out[source : source + n]
            case 6:
                return self._splice(data, rng.choice(self.pool))
            case _:
                del out[at:]
        return bytes(out)

    def _splice(self, first: bytes, second: bytes) -> bytes:
        at = self.rng.randrange(len(first) + 1)
        source = at if self.rng.random() < 0.5 else self.rng.randrange(len(second) + 1)
        if self.rng.random() < 0.5:
            return first[:at] + second[source:]
        n = self.rng.randrange(1, 33)
        return first[:at] + second[source : source + n] + first[at + n :]

    # Streams.

    def _stream(self, data: bytes) -> bytes:
        """Change a header field, a payload, a whole part, or what follows the last frame."""
        parts = split(data)
        choice = self.rng.random()
        if choice < (0.3 if self.target == "trailer" else 0.05):
            return change_trailer(self.rng, data, parts[-1])
        if choice < 0.6:
            return self._headers(data, parts)
        if choice < 0.7:
            return self._swap_part(data, self.rng.choice(self.pool))
        payloads = [i for i, part in enumerate(parts) if part.kind in _SIZE_FIELDS]
        if not payloads:
            return self._plain(data)
        i = self.rng.choice(payloads)
        payload = data[parts[i].start : parts[i].stop]
        if parts[i].kind == "latent":
            return self._replace(data, parts, i, self._words(payload))
        return self._change_networks(data, parts, i, payload)

    def _headers(self, data: bytes, parts: list[Part]) -> bytes:
        choice = self.rng.random()
        if choice < 0.15:
            return self._rebuild(data, parts)
        part = self.rng.choice([part for part in parts if part.kind in TABLES])
        if choice < 0.3:
            return self._resize_header(data, part)
        out = bytearray(data)
        self._change_field(out, part.kind, part.start)
        return bytes(out)

    def _change_field(self, data: bytearray, kind: str, start: int) -> None:
        """Give one field of a header another value, legal or not."""
        spot = self.rng.choice(spots_at(data, kind, start))
        position = 8 * start + spot.start
        largest = (1 << spot.n_bits) - 1
        old = peek(data, position, spot.n_bits)
        values = (0, 1, largest, largest - 1, old + 1, old - 1, old ^ (1 << spot.n_bits >> 1))
        new = self.rng.choice((*values, self.rng.randint(0, largest)))
        poke(data, position, spot.n_bits, new & largest)

    def _resize_header(self, data: bytes, part: Part) -> bytes:
        """Add unknown bytes to a header, which are legal (section 1.4), or take some away."""
        out = bytearray(data)
        n = self.rng.choice((1, 2, 5, -1))
        size = max(part.stop - part.start + n, 0)
        set_value(out, part.kind, part.start, "n_bytes_header", size)
        out[part.stop + min(n, 0) : part.stop] = self.rng.randbytes(max(n, 0))
        return bytes(out)

    def _swap_part(self, data: bytes, other: bytes) -> bytes:
        """Take a header, a payload or a trailer from another stream."""
        theirs = self.rng.choice(split(other))
        parts = split(data)
        same = [i for i, part in enumerate(parts) if part.kind == theirs.kind]
        if not same:
            return data
        return self._replace(data, parts, self.rng.choice(same), other[theirs.start : theirs.stop])

    def _replace(self, data: bytes, parts: list[Part], i: int, piece: bytes) -> bytes:
        """Replace a part; mostly the size of a payload as well."""
        out = bytearray(data)
        out[parts[i].start : parts[i].stop] = piece
        if parts[i].kind in _SIZE_FIELDS and self.rng.random() < 0.9:
            name, back = _SIZE_FIELDS[parts[i].kind]
            set_value(out, "coolchic", parts[i - back].start, name, len(piece))
        return bytes(out)

    def _change_networks(self, data: bytes, parts: list[Part], i: int, payload: bytes) -> bytes:
        try:
            header = read_coolchic_header(data, parts[i - 1].start).header
        except StreamError:
            return self._plain(data)
        coded = change_parameters(self.rng, header, payload)
        if coded is None:
            return self._plain(data)
        out = bytearray(self._replace(data, parts, i, coded[0]))
        set_value(out, "coolchic", parts[i - 1].start, "nn_n_bit_pad", coded[1])
        return bytes(out)

    def _rebuild(self, data: bytes, parts: list[Part]) -> bytes:
        """Give a decoder another architecture."""
        chosen = [i for i, part in enumerate(parts) if part.kind == "coolchic"]
        if not chosen:
            return self._plain(data)
        i = self.rng.choice(chosen)
        try:
            header = read_coolchic_header(data, parts[i].start).header
        except StreamError:
            return self._plain(data)
        made = rebuild(self.rng, header)
        if made is None:
            return self._plain(data)
        return data[: parts[i].start] + made + data[parts[i + 1].stop :]

    # Latent payloads.

    def _latents(self, data: bytes) -> bytes:
        """Change words of the payload, or the models before it."""
        if self.target != "rangecoder":
            return data[:1] + self._words(data[1:])
        n = min(data[0], (len(data) - 1) // 4)
        if n == 0 or self.rng.random() < 0.5:
            return data[: 1 + 4 * n] + self._words(data[1 + 4 * n :])
        out = bytearray(data)
        at = 1 + 2 * self.rng.randrange(2 * n)
        extremes = (0, 1, 2559, 2560, 16384, 32767, self.rng.randrange(32768))
        out[at : at + 2] = self.rng.choice(extremes).to_bytes(2, "big")
        return bytes(out)

    def _words(self, payload: bytes) -> bytes:
        """Change whole words, those of the end more often."""
        rng = self.rng
        words = [payload[i : i + 4] for i in range(0, len(payload), 4)]
        at = max(rng.randrange(len(words) + 1), rng.randrange(len(words) + 1))
        edges = (bytes(4), b"\xff" * 4, b"\1\0\0\0", b"\xff\xff\xff\x7f", rng.randbytes(4))
        edge = rng.choice(edges)
        match rng.randrange(5):
            case 0:
                words.insert(at, edge)
            case 1:
                del words[at : at + 1]
            case 2:
                words[at : at + 1] = [edge]
            case 3:
                words[at:] = [rng.randbytes(4) for _ in words[at:]]
            case _:
                words[at:] = [edge] * rng.randrange(4)
        return b"".join(words)
