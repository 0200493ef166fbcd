# SPDX-License-Identifier: BSD-3-Clause
"""Quantisation of the trained networks (training, sections 8 and 9)."""
