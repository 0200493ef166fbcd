# SPDX-License-Identifier: BSD-3-Clause
"""Fused multiply-add: one rounding instead of two, and half the instructions.

It is asked for by name where it is wanted, so that results do not depend on what a compiler makes
of a * b + c.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from numchic_bitstream.kernels import describe


def _plain(a: np.float32, b: np.float32, c: np.float32) -> np.float32:
    """Return a * b + c by way of float64, where the product is exact."""
    return np.float32(np.float64(a) * np.float64(b) + np.float64(c))


if TYPE_CHECKING or describe() == "python":
    fma = _plain
else:
    from numba import types
    from numba.extending import intrinsic

    @intrinsic
    def fma(_context: Any, a: Any, b: Any, c: Any) -> Any:  # noqa: ARG001
        """Return a * b + c of float32 numbers, rounded once."""

        def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
            return builder.fma(*arguments)

        return types.float32(types.float32, types.float32, types.float32), generate
