# SPDX-License-Identifier: BSD-3-Clause
"""Short names for arrays by the type of their elements.

Names with a number of dimensions are for the arguments of entry kernels, which must be C-contiguous
(see :mod:`numchic_bitstream.kernels.signature`).
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray

I8 = NDArray[np.int8]
I16 = NDArray[np.int16]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
U8 = NDArray[np.uint8]
U16 = NDArray[np.uint16]
U32 = NDArray[np.uint32]
U64 = NDArray[np.uint64]
F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

I8_1D = Annotated[I8, 1]
I8_2D = Annotated[I8, 2]
I16_1D = Annotated[I16, 1]
I32_1D = Annotated[I32, 1]
I32_2D = Annotated[I32, 2]
I32_4D = Annotated[I32, 4]
I64_1D = Annotated[I64, 1]
I64_2D = Annotated[I64, 2]
I64_3D = Annotated[I64, 3]
U8_1D = Annotated[U8, 1]
U8_2D = Annotated[U8, 2]
U16_2D = Annotated[U16, 2]
U32_1D = Annotated[U32, 1]
U64_1D = Annotated[U64, 1]
F32_1D = Annotated[F32, 1]
F32_2D = Annotated[F32, 2]
F32_3D = Annotated[F32, 3]
F32_4D = Annotated[F32, 4]
F64_1D = Annotated[F64, 1]
F64_2D = Annotated[F64, 2]
F64_3D = Annotated[F64, 3]
