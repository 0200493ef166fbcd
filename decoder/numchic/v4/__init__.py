# SPDX-License-Identifier: BSD-3-Clause
"""Decoder of the 4.2, 4.1 and 4.0 generations; importing it imports no kernels.

Modules are named like those of 5.0 and follow ``docs/spec/coolchic-4.2.md``. Whatever differs
from 5.0, be it only the order of two additions, is here; see :mod:`numchic.v4.frame`.
"""
