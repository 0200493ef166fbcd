# SPDX-License-Identifier: BSD-3-Clause
"""Decoding of Cool-chic 5.0, one module for every stage of ``docs/spec/coolchic-5.md``."""
