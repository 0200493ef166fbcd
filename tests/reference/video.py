# SPDX-License-Identifier: BSD-3-Clause
"""The whole decoder of a video: specification, section 13, all frames kept, in coding order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import frame, headers
from .decoder import decode_part
from .warp import FloatArray, warp

ONE, HALF = np.float32(1), np.float32(0.5)


def reference_signal(planes: Sequence[NDArray[Any]], bitdepth: int) -> FloatArray:
    """Section 12.4: 4:4:4 planes divided by the largest sample."""
    height, width = planes[0].shape
    signal = np.empty((3, height, width), np.float32)
    for c, plane in enumerate(planes):
        halved = plane.shape != (height, width)
        for y in range(height):
            for x in range(width):
                value = plane[y // 2, x // 2] if halved else plane[y, x]
                signal[c, y, x] = np.float32(value) / np.float32(2**bitdepth - 1)
    return signal


def shift(signal: FloatArray, horizontal: int, vertical: int) -> FloatArray:
    """Section 13.2: sh[y][x] = ref[clip(y + gy)][clip(x + gx)]."""
    _, height, width = signal.shape
    shifted = np.empty_like(signal)
    for y in range(height):
        for x in range(width):
            row = min(max(y + vertical, 0), height - 1)
            column = min(max(x + horizontal, 0), width - 1)
            shifted[:, y, x] = signal[:, row, column]
    return shifted


def predict(
    header: headers.Header, residue: FloatArray, motion: FloatArray, references: list[FloatArray]
) -> FloatArray:
    """Section 13.2: the signal of a P or B frame."""
    flow = header["global_flow"]
    warped = [
        warp(
            shift(reference, flow[2 * i], flow[2 * i + 1]),
            motion[2 * i : 2 * i + 2],
            header["warp_filter_size"],
        )
        for i, reference in enumerate(references)
    ]
    alpha = np.clip(residue[3] + HALF, np.float32(0), ONE)
    prediction = warped[0]
    if len(warped) == 2:
        beta = np.clip(residue[4] + HALF, np.float32(0), ONE)
        prediction = beta * warped[0] + (ONE - beta) * warped[1]
    result: FloatArray = alpha * prediction + residue[:3]
    return result


def coding_order(header: headers.Header) -> list[tuple[int, list[int]]]:
    """Section 13.1: display index and references of every frame."""
    intra, p = sorted(header["intra_pos"]), sorted(header["p_pos"])
    order: list[tuple[int, list[int]]] = [(i, []) for i in intra]
    placed = set(intra)
    for i in p:
        order.append((i, [max(j for j in placed if j < i)]))
        placed.add(i)
    while len(order) < header["n_frames"]:
        i = min(set(range(header["n_frames"])) - placed)
        a, z = max(j for j in placed if j < i), min(j for j in placed if j > i)
        order.append((a + (z - a) // 2, [a, z]))
        placed.add(a + (z - a) // 2)
    return order


def decode(data: bytes) -> list[list[Any]]:
    """The three integer planes of every frame, in display order."""
    file = headers.read_file(data)
    decoded: dict[int, list[Any]] = {}
    order = coding_order(file["video_header"])
    for coded, (display_index, indices) in zip(file["frames"], order, strict=True):
        header = coded["frame_header"]
        signal = decode_part(coded["residue"])["resized_output"]
        if header["frame_type"] != "I":
            motion = decode_part(coded["motion"])["resized_output"]
            references = [reference_signal(decoded[i], header["bitdepth"]) for i in indices]
            signal = predict(header, signal, motion, references)
        decoded[display_index] = frame.to_samples(
            signal, header["frame_data_type"], header["bitdepth"]
        )
    return [decoded[i] for i in sorted(decoded)]
