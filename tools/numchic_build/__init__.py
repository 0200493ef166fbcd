# SPDX-License-Identifier: BSD-3-Clause
"""Compiles the kernels of the decoder, when a package is built, into a library for a platform.

``lower`` makes an LLVM module of the kernels, ``emit`` object files of that, ``link`` a library.
"""
