# SPDX-License-Identifier: BSD-3-Clause
"""A slow and obvious second decoder of Cool-chic 4.2, 4.1 and 4.0, and a writer of test streams.

Written from ``docs/spec/coolchic-4.2.md``, to compare the fast implementation with. Integer
stages use Python integers, float stages float32 with one rounding per operation.
"""
