# SPDX-License-Identifier: BSD-3-Clause
"""The commands ``encode``, ``encode-batch``, ``train-ladder`` and ``ladder`` of ``numchic``."""
