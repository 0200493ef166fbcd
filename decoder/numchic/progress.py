# SPDX-License-Identifier: BSD-3-Clause
"""How callers follow and stop long work."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called with the name of a stage, the work done and the total work of that stage.

Stages are "latents", counted in samples, and "rendering", counted in rows; they overlap. While
something takes long the same numbers are reported again. An exception that the callback raises
stops the work and reaches the caller.
"""
