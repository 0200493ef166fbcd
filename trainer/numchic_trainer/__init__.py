# SPDX-License-Identifier: BSD-3-Clause
"""Overfit pictures and write Cool-chic streams. Not written yet; needs torch."""
