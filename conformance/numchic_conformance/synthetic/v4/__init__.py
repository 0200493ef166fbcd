# SPDX-License-Identifier: BSD-3-Clause
"""Streams of the generations 4.2, 4.1 and 4.0: a writer, recipes, and what they give.

:mod:`.coder`, :mod:`.headers` and :mod:`.latents` write, :mod:`.streams` draws what a recipe leaves
open, :mod:`.recipes` and :mod:`.malformed` are the tables. The decoder has no part in it but the
two tables of the format that the writer needs as well.
"""
