# SPDX-License-Identifier: BSD-3-Clause
"""Range coder: specification, sections 8.3 and 8.4.  Python integers reduced modulo 2**64."""

from __future__ import annotations

from . import laplace

MOD64 = 2**64
MOD32 = 2**32


def words_from_bytes(data: bytes) -> list[int]:
    return [int.from_bytes(data[i : i + 4], "little") for i in range(0, len(data), 4)]


def bytes_from_words(words: list[int]) -> bytes:
    return b"".join(word.to_bytes(4, "little") for word in words)


class Decoder:
    def __init__(self, words: list[int]) -> None:
        self.words = [int(word) for word in words]
        self.position = 0
        self.lower = 0
        self.range = MOD64 - 1
        self.point = self._next_word() * MOD32
        self.point += self._next_word()

    def _next_word(self) -> int:
        word = self.words[self.position] if self.position < len(self.words) else 0
        self.position += 1
        return word

    def decode(self, mu_index: int, scale_index: int) -> int:
        scale = self.range >> 24
        quantile = ((self.point - self.lower) % MOD64) // scale
        if quantile >= 2**24:
            raise ValueError("invalid data: quantile beyond the probability table")
        s = laplace.symbol(quantile, mu_index, scale_index)
        low, p = laplace.bounds(s, mu_index, scale_index)
        self.lower = (self.lower + scale * low) % MOD64
        self.range = scale * p
        if self.range < MOD32:
            self.lower = (self.lower << 32) % MOD64
            self.range = self.range << 32
            self.point = (self.point << 32) % MOD64 | self._next_word()
        return s


class Encoder:
    def __init__(self) -> None:
        self.lower = 0
        self.range = MOD64 - 1
        self.words: list[int] = []
        self.pending = 0
        self.first = 0

    def _output_pending(self, carry: bool) -> None:
        self.words.append((self.first + carry) % MOD32)
        self.words.extend([0 if carry else 0xFFFFFFFF] * (self.pending - 1))
        self.pending = 0

    def encode(self, symbol: int, mu_index: int, scale_index: int) -> None:
        low, p = laplace.bounds(symbol, mu_index, scale_index)
        scale = self.range >> 24
        self.range = scale * p
        new = (self.lower + scale * low) % MOD64
        if self.pending > 0 and (new + self.range) % MOD64 > new:
            self._output_pending(carry=new < self.lower)
        self.lower = new
        if self.range < MOD32:
            self.range = self.range << 32
            word = self.lower >> 32
            self.lower = (self.lower << 32) % MOD64
            if self.pending > 0:
                self.pending += 1
            elif (self.lower + self.range) % MOD64 > self.lower:
                self.words.append(word)
            else:
                self.pending = 1
                self.first = word

    def finish(self) -> list[int]:
        if self.range == MOD64 - 1:
            return self.words
        point = (self.lower + MOD32 - 1) % MOD64
        if self.pending > 0:
            self._output_pending(carry=point < self.lower)
        word = point >> 32
        self.words.append(word)
        if ((self.lower + self.range) % MOD64) >> 32 == word:
            self.words.append(0)
        return self.words
