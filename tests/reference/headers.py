# SPDX-License-Identifier: BSD-3-Clause
"""Headers and what follows from them: specification, sections 1.2 - 1.4, 2, 3 and 4.1.

Nothing is validated.  Headers are dictionaries with the field names of the specification.
"""

from __future__ import annotations

from typing import Any

from .expgolomb import bits_from_bytes

Header = dict[str, Any]
GridInfo = tuple[int, bool, int, int]

FRAME_TYPES = ("I", "P", "B")
FRAME_DATA_TYPES = ("rgb", "yuv420", "yuv444", "flow")
RESIZES = ("nearest", "bilinear", "bicubic")
BLOCKS = (
    "arm.weight",
    "arm.bias",
    "ifce.weight",
    "ifce.bias",
    "upsampling.weight",
    "upsampling.bias",
    "synthesis.weight",
    "synthesis.bias",
)
# Section 2.4: the step of index i is 2 ** (i - STEP_OFFSET).
STEP_OFFSET = dict(zip(BLOCKS, (8, 16, 8, 16, 12, 0, 12, 24), strict=True))


class _Bits:
    """Reads fields of a bit string, most significant bit first."""

    def __init__(self, data: bytes) -> None:
        self.bits = bits_from_bytes(data)
        self.position = 0

    def unsigned(self, n: int) -> int:
        field = self.bits[self.position : self.position + n]
        if len(field) < n:
            raise ValueError("the header is cut short")
        self.position += n
        return int(field, 2)

    def signed(self, n: int) -> int:
        sign = self.unsigned(1)
        magnitude = self.unsigned(n - 1)
        return -magnitude if sign == 1 else magnitude

    def unsigned_list(self, n: int, count: int) -> list[int]:
        return [self.unsigned(n) for _ in range(count)]


def read_video_header(data: bytes) -> Header:
    """Section 2.1, from the start of data."""
    bits = _Bits(data[:16384])
    header: Header = {
        "n_frames": bits.unsigned(12),
        "n_intras": bits.unsigned(12),
        "n_p_frames": bits.unsigned(12),
        "n_bytes_header": bits.unsigned(16),
    }
    header["intra_pos"] = bits.unsigned_list(12, header["n_intras"])
    header["p_pos"] = bits.unsigned_list(12, header["n_p_frames"])
    return header


def read_frame_header(data: bytes) -> Header:
    """Section 2.2, from the start of data."""
    bits = _Bits(data[:64])
    header: Header = {
        "display_index": bits.unsigned(12),
        "frame_type": FRAME_TYPES[bits.unsigned(2)],
        "frame_data_type": FRAME_DATA_TYPES[bits.unsigned(2)],
        "bitdepth": bits.unsigned(4) + 8,
        "n_bytes_header": bits.unsigned(16),
    }
    n_refs = FRAME_TYPES.index(header["frame_type"])
    header["index_references"] = bits.unsigned_list(12, n_refs)
    header["global_flow"] = [bits.signed(14) for _ in range(2 * n_refs)]
    if n_refs > 0:
        header["warp_filter_size"] = bits.unsigned(4)
    return header


def read_coolchic_header(data: bytes) -> Header:
    """Section 2.3, from the start of data.

    nn_q_step and nn_expgol_cnt become dictionaries from block name to index.
    """
    bits = _Bits(data[:128])
    header: Header = {
        "linear_stabiliser_synth": bits.unsigned(1),
        "n_layer_synthesis": bits.unsigned(3),
        "ups_k_size": bits.unsigned(4),
        "ups_preconcat_k_size": bits.unsigned(4),
        "output_feature_ifce": bits.unsigned(5),
        "spatial_context_arm": bits.unsigned(6),
        "linear_stabiliser_arm": bits.unsigned(1),
        "n_hidden_layers_arm": bits.unsigned(3),
        "img_size": bits.unsigned_list(14, 2),
        "latent_resolution": bits.unsigned_list(4, 2),
        "n_latent_grids": bits.unsigned(5),
        "flag_hyperlatent": bits.unsigned(1),
        "flag_common_randomness": bits.unsigned(1),
        "final_upsampling_type": RESIZES[bits.unsigned(2)],
        "nn_q_step": {name: bits.unsigned(5) for name in BLOCKS},
        "nn_expgol_cnt": {name: bits.unsigned(4) for name in BLOCKS},
        "nn_n_bytes": bits.unsigned(14),
        "nn_n_bit_pad": bits.unsigned(3),
        "n_bytes_latent": bits.unsigned(28),
        "n_bytes_header": bits.unsigned(16),
    }
    if header["output_feature_ifce"] > 0:
        header["ifce_resolution"] = bits.unsigned_list(4, 2)
    if header["flag_hyperlatent"] == 1:
        header["hyperlatent_resolution"] = bits.unsigned_list(4, 2)
    header["syn_layer"] = [
        {
            "out_ft": bits.unsigned(7),
            "k_size": bits.unsigned(4),
            "mode": ("linear", "residual")[bits.unsigned(1)],
            "non_linearity": ("none", "relu")[bits.unsigned(1)],
        }
        for _ in range(header["n_layer_synthesis"])
    ]
    return header


def read_file(data: bytes) -> Header:
    """The whole file (section 1.2).

    Returns {"video_header": ..., "frames": [frame, ...]} in coding order, where a frame is
    {"frame_header": ..., "residue": part, "motion": part} (no motion in I frames) and a part is
    {"header": ..., "nn_payload": bytes, "latent_payload": bytes}.
    """
    video_header = read_video_header(data)
    position = video_header["n_bytes_header"]
    frames = []
    for _ in range(video_header["n_frames"]):
        frame: Header = {"frame_header": read_frame_header(data[position:])}
        position += frame["frame_header"]["n_bytes_header"]
        intra = frame["frame_header"]["frame_type"] == "I"
        for part in ("residue",) if intra else ("residue", "motion"):
            header = read_coolchic_header(data[position:])
            start_nn = position + header["n_bytes_header"]
            start_latent = start_nn + header["nn_n_bytes"]
            position = start_latent + header["n_bytes_latent"]
            frame[part] = {
                "header": header,
                "nn_payload": data[start_nn:start_latent],
                "latent_payload": data[start_latent:position],
            }
        frames.append(frame)
    return {"video_header": video_header, "frames": frames}


def q_step(header: Header, name: str) -> float:
    """Quantisation step of a block (section 2.4)."""
    return float(2.0 ** (header["nn_q_step"][name] - STEP_OFFSET[name]))


def size_at_level(img_size: list[int], level: int) -> tuple[int, int]:
    """ceil(H / 2^level), ceil(W / 2^level)."""
    height, width = img_size
    return -(-height // 2**level), -(-width // 2**level)


def grid_list(header: Header) -> list[GridInfo]:
    """Section 3.1: (level, is_hyper, h, w), finest first."""
    lo, hi = header["latent_resolution"]
    hyper = header["flag_hyperlatent"] == 1
    hlo, hhi = header["hyperlatent_resolution"] if hyper else (lo, hi)
    grids: list[GridInfo] = []
    for i in range(min(lo, hi, hlo, hhi), max(lo, hi, hlo, hhi) + 1):
        h, w = size_at_level(header["img_size"], i)
        if lo <= i <= hi:
            grids.append((i, False, h, w))
        if hyper and hlo <= i <= hhi:
            grids.append((i, True, h, w))
    return grids


def ifce_inputs(header: Header) -> list[int]:
    """Section 3.2: C_k of each grid, 0 where there is no IFCE."""
    grids = grid_list(header)
    n = len(grids)
    if header["output_feature_ifce"] == 0:
        return [0] * n
    first, last = header["ifce_resolution"]
    inputs = []
    for k, (_, _, h, _) in enumerate(grids):
        r = 0  # ceil(log2(H / h)): the smallest r with h * 2^r >= H
        while h * 2**r < header["img_size"][0]:
            r += 1
        inputs.append(max(n - 1 - k, 1) if first <= r <= last else 0)
    return inputs


def parameter_shapes(header: Header) -> list[tuple[str, list[tuple[int, ...]]]]:
    """Section 4.1: blocks in stream order, each with the shapes of its arrays.

    The two IFCE blocks are left out when there is no IFCE at all.
    """
    features = header["output_feature_ifce"]
    d = header["spatial_context_arm"] + features
    lo, hi = header["latent_resolution"]
    n_latent_channels = hi - lo + 1

    arm: list[tuple[int, ...]] = [(d, d)] * header["n_hidden_layers_arm"] + [(2, d)]
    if header["linear_stabiliser_arm"] == 1:
        arm.append((2, d))

    ifce: list[tuple[int, ...]] = [(features, c) for c in ifce_inputs(header) if c > 0]

    upsampling: list[tuple[int, ...]] = [(header["ups_k_size"] // 2,)] * hi
    upsampling += [((header["ups_preconcat_k_size"] + 1) // 2,)] * hi

    outputs = header["syn_layer"][-1]["out_ft"]
    synthesis: list[tuple[int, ...]] = [(outputs, outputs, 1, 1)]
    if header["linear_stabiliser_synth"] == 1:
        synthesis.append((outputs, n_latent_channels, 1, 1))
    inputs = n_latent_channels * (2 if header["flag_common_randomness"] == 1 else 1)
    for layer in header["syn_layer"]:
        synthesis.append((layer["out_ft"], inputs, layer["k_size"], layer["k_size"]))
        inputs = layer["out_ft"]

    blocks: list[tuple[str, list[tuple[int, ...]]]] = [
        ("arm.weight", arm),
        ("arm.bias", [(shape[0],) for shape in arm]),
    ]
    if features > 0:
        blocks += [("ifce.weight", ifce), ("ifce.bias", [(features,) for _ in ifce])]
    blocks += [
        ("upsampling.weight", upsampling),
        ("upsampling.bias", [(1,)] * (2 * hi)),
        ("synthesis.weight", synthesis),
        ("synthesis.bias", [(shape[0],) for shape in synthesis]),
    ]
    return blocks
