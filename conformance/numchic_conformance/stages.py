# SPDX-License-Identifier: BSD-3-Clause
"""The stages of decoding a stream, one after the other, as named arrays.

======================  ==========================  ================================================
name                    array                       content (coolchic-5; coolchic-4.2)
======================  ==========================  ================================================
``parameters.M_K``      int64[n]                    integers of module M (arm, ifce, upsampling,
                                                    synthesis), K weight or bias, stream order (4.1;
                                                    8.1)
``latents.k``           int8[h, w]; int32[h, w]     grid k; 0 is the finest (3.1; 9)
``dense``               float32[S', h, w]           upsampled latents, level lo first (9); synthesis
                                                    inputs, so with the noise (10, 11)
``synthesis``           float32[O, h, w]            output of the synthesis (12), before the resize
                                                    (11.1)
``prediction``          float32[3, h, w]            4.x only: signal of a P or B frame (13.8)
``samples``             uint8[n] or uint16[n]       all samples of all frames in display order: RGB
                                                    interleaved, YUV one plane after the other (12;
                                                    13.2); in videos of 4.x also those of each frame
======================  ==========================  ================================================

They come in the order in which a decoder computes them, so the coarsest grid of 5.0 comes first; in
4.x, where grids do not depend on each other, the finest. In videos the names start with the frame
in coding order and the part, as in ``frame2.motion.latents.0``; ``frame2.prediction`` and
``frame2.samples`` belong to no part.

Of 5.0 everything up to the latents is exact; ``dense``, ``synthesis`` and ``samples`` are those of
this project's order of float32 operations. A prediction from references that may be off by one
cannot be compared, so there is none. Of 4.x everything is exact.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import numchic
from numchic.v5.latents import decode_latents
from numchic.v5.noise import common_randomness
from numchic.v5.synthesis import synthesise
from numchic.v5.upsampling import upsample
from numchic_bitstream import CoolChic, Limits, Parameters, Stream, UsageError, read_parameters
from numchic_bitstream.generations import read_any
from numchic_bitstream.v5.parameters import flat_parameters

Array = NDArray[Any]
Stages = Iterator[tuple[str, Array]]

STANDARD_DIGEST = "sha256"

# Kind of digest -> type the array is converted to (None: its own) and the function.
_DIGESTS: dict[str, tuple[str | None, Callable[[bytes], str]]] = {
    STANDARD_DIGEST: (None, lambda data: hashlib.sha256(data).hexdigest()),
    "sha256/int32": ("<i4", lambda data: hashlib.sha256(data).hexdigest()),
    "sha256/uint16be": (">u2", lambda data: hashlib.sha256(data).hexdigest()),
    "crc32": (None, lambda data: f"{zlib.crc32(data):08x}"),
}


def digest(array: Array, kind: str = STANDARD_DIGEST) -> str:
    """``kind:hexadecimal`` digest of an array's little-endian bytes in row order.

    Parameters
    ----------
    array : array
    kind : {"sha256", "sha256/int32", "sha256/uint16be", "crc32"}
        ``sha256/int32`` converts to int32 first, ``sha256/uint16be`` to big-endian uint16.
    """
    dtype, function = _DIGESTS[kind]
    little = array.astype(dtype or array.dtype.newbyteorder("<"), copy=False)
    return f"{kind}:{function(little.tobytes())}"


def kind_of(digest: str) -> str:
    """Kind of a digest in a suite.

    Raises
    ------
    UsageError
        The kind is not known.
    """
    kind = digest.partition(":")[0]
    if kind not in _DIGESTS:
        raise UsageError("unknown kind of digest", "digests", None, kind, ", ".join(_DIGESTS))
    return kind


def decode_stages(data: bytes, limits: Limits | None = None) -> Stages:
    """Decode a stream of any generation stage by stage, but for the last one, ``samples``.

    Raises
    ------
    NumchicError
        As :func:`numchic.decode`, when the stage concerned is reached.
    """
    stream = read_any(data, limits)
    if not isinstance(stream, Stream):
        from numchic_bitstream import v4
        from numchic_conformance.stages4 import decode_stages4

        assert isinstance(stream, v4.Stream)
        yield from decode_stages4(stream)
        return
    single = len(stream.frames) == 1
    for i, frame in enumerate(stream.frames):
        for role, part in zip(("residue", "motion"), frame.parts, strict=False):
            prefix = "" if single else f"frame{i}.{role}."
            for name, array in _decode_part(part):
                yield prefix + name, array


def decode_samples(data: bytes, *, check_integrity: bool = True) -> Array:
    """Decode a stream of any generation to the stage ``samples``.

    Raises
    ------
    NumchicError
        As :func:`numchic.decode_frames`.
    """
    return samples_of(numchic.decode_frames(data, check_integrity=check_integrity))


def samples_of(pictures: Iterable[numchic.Picture]) -> Array:
    """Stage ``samples`` of decoded frames."""
    frames = [
        np.frombuffer(picture.to_bytes(), picture.planes[0].dtype.newbyteorder("<"))
        for picture in pictures
    ]
    return frames[0] if len(frames) == 1 else np.concatenate(frames)


def _decode_part(part: CoolChic) -> Stages:
    header = part.header
    parameters = read_parameters(header, part.nn_payload, part.nn_offset)
    yield from parameter_stages(part, parameters)
    grids = decode_latents(part, parameters)
    for k in reversed(range(len(grids))):
        yield f"latents.{k}", grids[k]
    latents = header.derived.latents(grids)
    with np.errstate(over="ignore", invalid="ignore"):
        dense = upsample(header, parameters.upsampling, latents)
        yield "dense", dense
        if header.flag_common_randomness:
            noise = common_randomness(header.img_size, *header.latent_resolution)
            dense = np.concatenate([dense, noise])
        yield "synthesis", synthesise(header, parameters.synthesis, dense)


def parameter_stages(part: CoolChic, parameters: Parameters) -> Stages:
    """Stages ``parameters.M_K``; modules that a stream does not have are left out."""
    for module, kind, flat in flat_parameters(part.header, parameters):
        if flat.size:
            yield f"parameters.{module}_{kind}", flat


def write_stages(stages: Stages, folder: Path) -> None:
    """Write every stage as ``NAME.npy`` into an existing folder."""
    for name, array in stages:
        np.save(folder / f"{name}.npy", array)


def read_stage(folder: Path, name: str) -> Array | None:
    """Array of a stage that somebody wrote to a folder; None if it is not there.

    Raises
    ------
    UsageError
        The file is not an array of numbers.
    """
    path = folder / f"{name}.npy"
    if not path.exists():
        return None
    try:
        array: Array = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise UsageError(f"not an array: {error}", path.name) from error
    if array.dtype.kind not in "iuf":
        raise UsageError("not an array of numbers", path.name, None, array.dtype)
    return array
