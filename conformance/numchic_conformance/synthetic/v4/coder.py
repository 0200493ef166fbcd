# SPDX-License-Identifier: BSD-3-Clause
"""The arithmetic coder of 4.x (coolchic-4.2, section 7 and appendix E)."""

from __future__ import annotations

from collections.abc import Iterable


class Adaptive:
    """The context of a block map (7.3)."""

    def __init__(self) -> None:
        self.fast = self.slow = 0x4100

    @property
    def q8(self) -> int:
        """Probability of a one in parts of 256."""
        return (self.fast + self.slow) >> 8

    def update(self, bit: int) -> None:
        """Take note of a bin."""
        self.fast = 0x7FE0 if bit else 0
        self.slow -= (self.slow >> 8) & 0x7FFE
        self.slow += 0x7E if bit else 0


class Encoder:
    """Writes one sub-stream, as one long number."""

    def __init__(self) -> None:
        self._low, self._width, self._shifts = 0, 510, 0

    def _shift(self, n: int) -> None:
        self._low <<= n
        self._shifts += n

    def bypass(self, bit: int) -> None:
        """Code a bin of probability one half."""
        self._shift(1)
        self._low += bit * self._width

    def bin(self, q8: int, bit: int) -> None:
        """Code a bin that is 1 with probability q8 / 256."""
        t = q8 if q8 < 128 else 255 - q8
        lps = (((t >> 2) * (self._width >> 5)) >> 1) + 4
        self._width -= lps
        if bit == q8 >> 7:
            n = 1 if self._width < 256 else 0
            self._width <<= n
        else:
            self._low += self._width
            n = 9 - lps.bit_length()
            self._width = lps << n
        self._shift(n)

    def exp_golomb(self, value: int, order: int) -> None:
        """Code a number >= 0 (7.4)."""
        while value >= 1 << order:
            self.bypass(1)
            value -= 1 << order
            order += 1
        self.bypass(0)
        for i in reversed(range(order)):
            self.bypass(value >> i & 1)

    def signed(self, value: int, order: int) -> None:
        """Code a parameter (8.1)."""
        self.exp_golomb(abs(value), order)
        if value:
            self.bypass(int(value < 0))

    def finish(self) -> bytes:
        """Terminate, and return the sub-stream (7.5)."""
        bits = self._low + self._width - 2 << 7
        bits = (bits >> 8 << 8 | 0x80) >> 7
        n_bits = self._shifts + 9
        n_bytes = (n_bits + 7) // 8
        return (bits << (8 * n_bytes - n_bits)).to_bytes(n_bytes, "big")


def encode_numbers(numbers: Iterable[int], order: int) -> bytes:
    """Sub-stream of parameters; nothing for none."""
    encoder, empty = Encoder(), True
    for number in numbers:
        encoder.signed(number, order)
        empty = False
    return b"" if empty else encoder.finish()
