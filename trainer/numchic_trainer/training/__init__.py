# SPDX-License-Identifier: BSD-3-Clause
"""Overfitting: losses, optimiser, phases (training, sections 4 to 7 and 11)."""
