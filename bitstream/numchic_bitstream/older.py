# SPDX-License-Identifier: BSD-3-Clause
"""Streams older than 4.0, which are told apart but not read (coolchic-4.2, C.3 and C.6). Exact."""

from __future__ import annotations

_HEADER_3 = b"\0\x09"  # its own size

# A 2.0 header: the layers and the sizes of the grids are the parts whose number varies.
_LAYERS_2, _LAYER_BYTES = 12, 3
_SIZES_2, _N_SIZES = 20, 5  # behind the layers; of the networks, two bytes each
_GRID_BYTES = 3


def name_of_older(data: bytes) -> str | None:
    """Name the generation of a stream that is older than 4.0.

    Parameters
    ----------
    data : bytes
        The whole file.

    Returns
    -------
    {"2.0", "3.x"} or None
        None for anything else.
    """
    if _is_3(data):
        return "3.x"
    return "2.0" if _is_2(data) else None


def _has_size(data: bytes) -> bool:
    """Whether height and width, in bytes 2 to 5, are at least 1."""
    return any(data[2:4]) and any(data[4:6])


def _is_3(data: bytes) -> bool:
    """C.3: the header of a 3.x file, and the length field of its first frame header.

    It is no stream of 5.0, which would have no frame.
    """
    if len(data) < 11 or data[:2] != _HEADER_3:
        return False
    # Four bits each since 3.1; in 3.0 three for the depth, three for the type, two for more.
    formats = (data[6] >> 4, data[6] & 15), (data[6] >> 5, data[6] >> 2 & 7)
    is_format = any(depth <= 8 and data_type <= 2 for depth, data_type in formats)
    return is_format and _has_size(data) and any(data[9:11])


def _is_2(data: bytes) -> bool:
    """C.6: the sizes in a 2.0 header add up to its own one, and with it to that of the file."""
    n_bytes_header = _number(data[:2])
    if not _LAYERS_2 < n_bytes_header <= len(data) or not _has_size(data):
        return False
    sizes = _LAYERS_2 + _LAYER_BYTES * data[_LAYERS_2 - 1] + _SIZES_2
    n_grids = sizes + 2 * _N_SIZES
    grids = n_grids + 1
    if grids > n_bytes_header or grids + _GRID_BYTES * data[n_grids] != n_bytes_header:
        return False
    total = n_bytes_header
    total += sum(_number(data[i : i + 2]) for i in range(sizes, n_grids, 2))
    total += sum(_number(data[i : i + _GRID_BYTES]) for i in range(grids, n_bytes_header, 3))
    return total == len(data)


def _number(data: bytes) -> int:
    return int.from_bytes(data, "big")
