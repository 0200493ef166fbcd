# SPDX-License-Identifier: BSD-3-Clause
"""The arithmetic decoder: specification, section 7."""

from __future__ import annotations


def _lps(q8: int, width: int) -> int:
    t = q8 if q8 < 128 else 255 - q8
    return (((t >> 2) * (width >> 5)) >> 1) + 4


class Adaptive:
    """The context of a block map."""

    def __init__(self) -> None:
        self.a = self.b = 0x4100

    @property
    def q8(self) -> int:
        return (self.a + self.b) >> 8

    def update(self, bit: int) -> None:
        self.a = 0x7FE0 if bit else 0
        self.b -= (self.b >> 8) & 0x7FFE
        self.b += 0x7E if bit else 0


class Decoder:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.width = 510
        self.fetched = 0
        self.value = self.next_byte() << 8
        self.value += self.next_byte()
        self.need = -8

    def next_byte(self) -> int:
        self.fetched += 1
        return self.data[self.fetched - 1] if self.fetched <= len(self.data) else 0

    def shift(self, n: int) -> None:
        self.value <<= n
        self.need += n
        if self.need >= 0:
            self.value += self.next_byte() << self.need
            self.need -= 8

    def bypass(self) -> int:
        self.shift(1)
        if self.value >= self.width << 7:
            self.value -= self.width << 7
            return 1
        return 0

    def bin(self, q8: int) -> int:
        lps = _lps(q8, self.width)
        self.width -= lps
        if self.value < self.width << 7:
            if self.width < 256:
                self.width <<= 1
                self.shift(1)
            return q8 >> 7
        self.value -= self.width << 7
        n = 9 - lps.bit_length()
        self.width = lps << n
        self.shift(n)
        return 1 - (q8 >> 7)

    def exp_golomb(self, k: int) -> int:
        v = 0
        while self.bypass():
            v += 1 << k
            k += 1
            assert k <= 31
        for i in reversed(range(k)):
            v += self.bypass() << i
        return v

    def signed(self, k: int) -> int:
        v = self.exp_golomb(k)
        return -v if v and self.bypass() else v

    def is_over(self) -> bool:
        """The three conditions of 7.5."""
        stop = (self.data[-1] << (8 + self.need)) & 0xFF
        exact = self.fetched == len(self.data)
        return exact and self.value >= (self.width - 2) << 7 and stop == 0x80
