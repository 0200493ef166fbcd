# SPDX-License-Identifier: BSD-3-Clause
"""Fuzzing: targets, a mutator that knows the format, and the command ``run.py`` that joins them."""
