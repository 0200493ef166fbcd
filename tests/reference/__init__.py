# SPDX-License-Identifier: BSD-3-Clause
"""A slow and obvious second implementation of the Cool-chic 5.0 still image decoder.

Written from the format specification alone, without looking at the fast implementation, so that
the two can be compared.  The exact stages use Python integers; the float stages use float32 with
one rounding per operation, in the order stated in each module.
"""
