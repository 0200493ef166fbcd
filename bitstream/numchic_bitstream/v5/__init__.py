# SPDX-License-Identifier: BSD-3-Clause
"""The Cool-chic 5.0 bitstream, both directions (``docs/spec/coolchic-5.md``).

Importing this package does not import Numba; the modules with kernels, ``laplace`` and
``rangecoder``, are imported by name where they are needed.
"""
