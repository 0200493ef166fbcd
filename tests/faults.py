# SPDX-License-Identifier: BSD-3-Clause
"""Plant faults into copies of the decoder and see that the suite finds them, at the right stage.

``python tests/faults.py [NAME ...] [--all-vectors]`` runs the suite as for any other
decoder, by command line, against one broken copy after the other. Without ``--all-vectors`` only
the vectors named beside each fault are run, with kernels as plain Python.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from numchic_conformance import (
    CommandDecoder,
    Level,
    Outcome,
    Result,
    load_suites,
    run_vectors,
    select,
)
from numchic_conformance.compare import base_name

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("bitstream/numchic_bitstream", "decoder/numchic", "conformance/numchic_conformance")
OUTSIDE = Path(__file__).with_name("outside_decoder.py")


@dataclass(frozen=True)
class Fault:
    """A change of the source that makes the decoder wrong.

    Parameters
    ----------
    name : str
    file : str
        Below the folder of the packages.
    old, new : str
        What is replaced; occurs exactly once.
    stage : str
        First stage that is wrong, or "accepted" if streams are decoded that must be refused, or
        "refused" if good ones are not.
    vectors : tuple of str
        Patterns of vectors that show it.
    """

    name: str
    file: str
    old: str
    new: str
    stage: str
    vectors: tuple[str, ...]


FAULTS: tuple[Fault, ...] = (
    Fault(
        "sign of the parameters", "numchic_bitstream/v5/expgolomb.py",
        "(v + 1) // 2 if v & 1 else -(v // 2)", "-(v + 1) // 2 if v & 1 else v // 2",
        "parameters", ("size-3x3", "preset-lop"),
    ),
    Fault(
        "parameters column by column", "numchic_bitstream/v5/parameters.py",
        "part.reshape(shape) for part", "part.reshape(shape[::-1]).T for part",
        "parameters", ("size-3x3", "size-4x5"),
    ),
    Fault(
        "neighbours 3 and 4 exchanged", "numchic/v5/context.py",
        "(-1, 1), (0, -2)", "(0, -2), (-1, 1)",
        "latents", ("size-4x5", "arm-context-7"),
    ),
    Fault(
        "wavefront one column steeper", "numchic/v5/context.py",
        "ROW_DELAY = 10", "ROW_DELAY = 11",
        "latents", ("size-11x30", "size-16x16"),
    ),
    Fault(
        "no identity in hidden layers", "numchic/v5/arm.py",
        "hidden_weight[i] = layer.weight + (identity << sw)", "hidden_weight[i] = layer.weight",
        "latents", ("arm-hidden-2-*",),
    ),
    Fault(
        "no identity in a square output layer", "numchic/v5/arm.py",
        "square = identity if width == 2 else", "square =",
        "latents", ("arm-width-2-hidden-1-*",),
    ),
    Fault(
        "IFCE columns of the identity with 16 bits", "numchic/v5/arm.py",
        "(identity << column_bits)", "(identity << 16)",
        "latents", ("ifce-3-on-0-2*", "ifce-1-on-0-1*"),
    ),
    Fault(
        "no offset of the scale", "numchic/v5/arm.py",
        "_SCALE_OFFSET = 4 ", "_SCALE_OFFSET = 0 ",
        "latents", ("size-4x5", "arm-hidden-0*"),
    ),
    Fault(
        "scale table rounded correctly", "numchic_bitstream/v5/laplace.py",
        "    pattern[list(_ONE_SMALLER)] -= 1\n", "",
        "latents", ("scale-table-*",),
    ),
    Fault(
        "float64 where int64 is needed", "numchic/v5/arm.py",
        "return bits <= _FLOAT_BITS", "return True",
        "latents", ("arm-beyond-float64-*",),
    ),
    Fault(
        "large IFCE features rounded down", "numchic/v5/ifce.py",
        "value = np.float32(last[x, f] >> 8)",
        "value = np.float32((last[x, f] >> 8) & (-8192 if abs(last[x, f]) >> 32 else -1))",
        "latents", ("ifce-beyond-float32",),
    ),
    Fault(
        "IFCE features doubled only where the size doubles", "numchic/v5/latents.py",
        "        features.shift,\n    )",
        "        0 if features.values.shape[:2] == grid[2:] else features.shift,\n    )",
        "latents", ("ifce-1-on-0-1*",),
    ),
    Fault(
        "big-endian words", "numchic_bitstream/v5/rangecoder.py",
        'np.frombuffer(payload, "<u4")', 'np.frombuffer(payload, ">u4")',
        "latents", ("size-3x3", "size-1x40"),
    ),
    Fault(
        "pre-concatenation filter without its residual", "numchic/filters.py",
        "target[x] += np.float32(samples[x])", "target[x] += np.float32(0) * samples[x]",
        "dense", ("upsampling-4-3", "upsampling-8-7"),
    ),
    Fault(
        "upsampling kernels counted from the finest", "numchic/v5/upsampling.py",
        "for layer in parameters.x2]", "for layer in parameters.x2[::-1]]",
        "dense", ("upsampling-kernels-differ",),
    ),
    Fault(
        "zeros outside the grid in the upsampling", "numchic/v5/upsampling.py",
        "padded[x] = stack[c, y, min(max(x - half, 0), width - 1)]",
        "padded[x] = stack[c, y, min(max(x - half, 0), width - 1)] * (half <= x < half + width)",
        "dense", ("upsampling-4-1", "upsampling-8-7"),
    ),
    Fault(
        "zeros outside the picture in the synthesis", "numchic/v5/synthesis.py",
        "memory[row + width + x] = memory[row + width - 1]", "memory[row + width + x] = 0.0",
        "synthesis", ("synthesis-3-3-linear-none",),
    ),
    Fault(
        "no residual before a ReLU", "numchic/v5/synthesis.py",
        "if residual >= 0:", "if residual >= 0 and not stages[s, 5]:",
        "synthesis", ("synthesis-3-3-residual-*",),
    ),
    Fault(
        "rectified stabiliser", "numchic/v5/synthesis.py",
        "0, len(stages), False))", "0, len(stages), True))",
        "synthesis", ("rgb-8b-unclamped",),
    ),
    Fault(
        "another generator of randomness", "numchic/randomness.py",
        "_MODULUS = 2**31 - 1", "_MODULUS = 2**31",
        "synthesis", ("randomness-16x16*",),
    ),
    Fault(
        "another bicubic", "numchic/v5/resize.py",
        "_A = np.float32(-0.75)", "_A = np.float32(-0.5)",
        "samples", ("resize-bicubic-24x16-from-level-3", "resize-bicubic-identity"),
    ),
    Fault(
        "positions of nearest in float64", "numchic/v5/resize.py",
        "np.floor(d.astype(np.float32) * ratio)", "np.floor(d * (n / m))",
        "samples", ("resize-nearest-198x94-*", "resize-nearest-identity"),
    ),
    Fault(
        "global flow in the other direction", "numchic/references.py",
        "np.arange(width) + flow[0]", "np.arange(width) - flow[0]",
        "samples", ("warp-8",),
    ),
    Fault(
        "vertical vectors first", "numchic/v5/warp.py",
        "fx, fy = flow[0, y, x], flow[1, y, x]", "fy, fx = flow[0, y, x], flow[1, y, x]",
        "samples", ("warp-4",),
    ),
    Fault(
        "vectors rounded to 1/64", "numchic/v5/prediction.py",
        "flow = motion[2 * i : 2 * i + 2]",
        "flow = np.rint(64 * motion[2 * i : 2 * i + 2]) / np.float32(64)",
        "samples", ("format-yuv444-16b-video",),
    ),
    Fault(
        "references exchanged", "numchic/v5/prediction.py",
        "gains[1] * warped[0] + (_ONE - gains[1]) * warped[1]",
        "gains[1] * warped[1] + (_ONE - gains[1]) * warped[0]",
        "samples", ("structure-3-intra-0-p-2",),
    ),
    Fault(
        "filtered rows of another sample", "numchic/v5/warp.py",
        "                top[x] += 1\n", "",
        "samples", ("warp-6",),
    ),
    Fault(
        "frames shown in coding order", "numchic/video.py",
        "yield order[due - 1], schedule.help(loop.use(display_index))",
        "yield order[due - 1], schedule.help(loop.use(places[display_index].display_index))",
        "samples", ("structure-3-intra-0-p-2",),
    ),
    Fault(
        "P frames predicted from the P frame before", "numchic_bitstream/v5/structure.py",
        "(placed[bisect_left(placed, i) - 1],)", "(order[-1].display_index,)",
        "refused", ("structure-8-intra-0-4-6-p-2-7",),
    ),
    Fault(
        "B frames past the middle", "numchic_bitstream/v5/structure.py",
        "(future - past) // 2", "(future - past + 1) // 2",
        "refused", ("structure-9-intra-0-p-6-8",),
    ),
    Fault(
        "alpha not clamped", "numchic/v5/prediction.py",
        "np.clip(residue[3:] + _HALF, np.float32(0), _ONE)", "residue[3:] + _HALF",
        "samples", ("gains-beyond-bounds",),
    ),
    Fault(
        "residue weighed like the prediction", "numchic/v5/prediction.py",
        "gains[0] * prediction + residue[:3]", "gains[0] * (prediction + residue[:3])",
        "samples", ("structure-2-intra-0-p-1",),
    ),
    Fault(
        "zeros below a reference", "numchic/v5/warp.py",
        "row = min(max(top[x] + t, 0), height - 1) * width",
        "row = (top[x] + t) % height * width",
        "samples", ("warp-4", "warp-8"),
    ),
    Fault(
        "window of the next filter size", "numchic/v5/warp.py",
        "abs(u) / float(k)", "abs(u) / float(k + 2)",
        "samples", ("warp-6", "warp-14"),
    ),
    Fault(
        "4:2:0 without the first rounding", "numchic/v5/frame.py",
        "unit = rounded[1:] / maximum", "unit = signal[1:]",
        "samples", ("yuv420-10b-2x2", "yuv420-10b-21x14"),
    ),
    Fault(
        "4:2:0 clamped before the mean", "numchic/v5/frame.py",
        "unit = rounded[1:] / maximum", "unit = np.clip(rounded[1:] / maximum, 0, 1)",
        "samples", ("yuv420-8b-unclamped",),
    ),
    Fault(
        "halves rounded up", "numchic/v5/frame.py",
        "chroma = np.rint(mean * maximum)", "chroma = np.floor(mean * maximum + np.float32(0.5))",
        "samples", ("yuv420-8b-2x2", "yuv420-8b-21x14"),
    ),
    Fault(
        "bytes after the last frame refused", "numchic_bitstream/v5/stream.py",
        "        announced = self.data[",
        "        if self.position < len(self.data):\n"
        '            raise CorruptError("bytes are left over", "n_bytes_latent", self.position)\n'
        "        announced = self.data[",
        "refused", ("trailing-*", "size-3x3"),
    ),
    Fault(
        "invalid range coder state mended", "numchic_bitstream/v5/rangecoder.py",
        "            done = i\n            break", "            difference = (scale << _24) - _ONE",
        "accepted", ("latents-barely-invalid", "latents-all-ones"),
    ),
    Fault(
        "reserved data type taken for RGB", "numchic_bitstream/v5/headers.py",
        '2, ("rgb", "yuv420", "yuv444")', '2, ("rgb", "yuv420", "yuv444", "rgb")',
        "accepted", ("frame-data-type-3",),
    ),
    Fault(
        "4.1: contexts in units of 4", "numchic_bitstream/v4/headers.py",
        '"4.1": 8', '"4.1": 4',
        "refused", ("4.1-context-*",),
    ),
    Fault(
        "4.x: masks read from the other end", "numchic_bitstream/v4/headers.py",
        "mask >> (7 - i) & 1", "mask >> (8 - n_res + i) & 1",
        "dense", ("4.2-noise-without-latents",),
    ),
    Fault(
        "4.x: topology copied from an inter frame before the last I frame",
        "numchic_bitstream/v4/headers.py",
        "self._last_intra, self._last_inter = header, None", "self._last_intra = header",
        "refused", ("4.2-copies-after-an-intra-frame",),
    ),
    Fault(
        "4.x: topology copied from an inter frame shown before an I frame",
        "numchic_bitstream/v4/headers.py",
        "inter.display_index < intra.display_index < display_index", "False",
        "refused", ("4.2-copies-across-an-intra-frame",),
    ),
    Fault(
        "4.x: blocks of 128 forgotten", "numchic_bitstream/v4/headers.py",
        "for i in range(8) for sign", "for i in range(7) for sign",
        "refused", ("4.2-blocks-adaptive-128",),
    ),
    Fault(
        "4.x: how a sub-stream ends not looked at", "numchic_bitstream/v4/entropy.py",
        "value < (width - 2) << 7 or stop != 0x80", "False",
        "accepted", ("4.2-latent-other-end",),
    ),
    Fault(
        "4.x: prefix of exp-Golomb codes counted", "numchic_bitstream/v4/entropy.py",
        "number += 1 << k", "number += 1",
        "parameters", ("4.2-steps-smallest", "4.2-p"),
    ),
    Fault(
        "4.x: signs of the parameters", "numchic_bitstream/v4/entropy.py",
        "                number = -number\n", "                number += 0\n",
        "parameters", ("4.2-size-1x1", "4.0-p"),
    ),
    Fault(
        "4.x: second half of a kernel not mirrored", "numchic_bitstream/v4/parameters.py",
        "half[: size // 2][::-1]", "half[: size // 2]",
        "dense", ("4.2-kernels-*",),
    ),
    Fault(
        "4.x: steps of the ARM biases doubled", "numchic_bitstream/v4/parameters.py",
        "values[name] = numbers[name] << q",
        'values[name] = numbers[name] << q + (name == "arm.b")',
        "latents", ("4.2-context-8-*",),
    ),
    Fault(
        "4.x: no least width of an improbable bin", "numchic_bitstream/v4/entropy.py",
        "(width >> 5)) >> 1) + 4", "(width >> 5)) >> 1) + 3",
        "latents", ("4.2-size-16x16",),
    ),
    Fault(
        "4.x: bytes not shifted after an improbable bin", "numchic_bitstream/v4/entropy.py",
        "value += fetch(data, position) << need", "value += fetch(data, position)",
        "latents", ("4.2-size-16x16", "4.0-p"),
    ),
    Fault(
        "4.x: slow adaptive context too slow", "numchic_bitstream/v4/entropy.py",
        "slow -= (slow >> 8) & 0x7FFE", "slow -= (slow >> 9) & 0x7FFE",
        "latents", ("4.2-blocks-adaptive-1",),
    ),
    Fault(
        "4.x: magnitude contexts start one scale later", "numchic_bitstream/v4/states.py",
        ">= starts[mean]", "> starts[mean]",
        "latents", ("4.2-context-8-*",),
    ),
    Fault(
        "4.x: flat blocks told for insignificant ones too", "numchic/v4/latents.py",
        "            flat[:] = significant\n", "            flat[:] = 1\n",
        "latents", ("4.2-blocks-1",),
    ),
    Fault(
        "4.x: scale rounded down", "numchic/v4/latents.py",
        "(5 * t + 128) >> 8", "(5 * t) >> 8",
        "latents", ("4.2-context-16-*",),
    ),
    Fault(
        "4.x: contexts of four to the left cut", "numchic/v4/latents.py",
        "if n_zeros < REACH or", "if n_zeros < REACH - 1 or",
        "latents", ("4.2-context-24-*",),
    ),
    Fault(
        "4.x: context of 16 one column to the right", "numchic/v4/arm.py",
        "16: ((-3, -1), (-3, 2), (-2, 2), (0, 1))", "16: ((-3, -1), (-3, 2), (-2, 2), (1, 2))",
        "latents", ("4.1-context-16-*",),
    ),
    Fault(
        "4.x: no identity in hidden layers", "numchic/v4/arm.py",
        "layer.weight + 256 * identity", "layer.weight",
        "latents", ("4.2-context-12-*",),
    ),
    Fault(
        "4.x: hidden layers rounded down", "numchic/v4/arm.py",
        "np.int32(0)) >> 7) + 1) >> 1", "np.int32(0)) >> 7) + 0) >> 1",
        "latents", ("4.2-context-12-*",),
    ),
    Fault(
        "4.x: negative halves rounded up", "numchic/v4/arm.py",
        "return -((128 - value) >> 8)", "return -((127 - value) >> 8)",
        "latents", ("4.2-context-8-*",),
    ),
    Fault(
        "4.x: refinement kernels counted from the finest", "numchic/v4/upsampling.py",
        "[(len(self._sizes) - 2 - i) % len(self._parameters.pre)]",
        "[i % len(self._parameters.pre)]",
        "dense", ("4.2-kernels-*",),
    ),
    Fault(
        "4.x: odd rows upsampled like even ones", "numchic/v4/upsampling.py",
        "// 2 - reach + e + j", "// 2 - reach + j",
        "dense", ("4.2-kernels-1x8-*", "4.0-gaps"),
    ),
    Fault(
        "4.x: noise rounded to the nearest step", "numchic/v4/upsampling.py",
        "np.trunc(samples * _NOISE_STEP)", "np.rint(samples * _NOISE_STEP)",
        "dense", ("4.2-noise-everywhere",),
    ),
    Fault(
        "4.x: noise kernel reversed", "numchic/v4/upsampling.py",
        "[_CUBIC[::-1], _CUBIC]", "[_CUBIC, _CUBIC[::-1]]",
        "dense", ("4.2-noise-everywhere",),
    ),
    Fault(
        "4.x: noise begins anew with every frame", "numchic_bitstream/v4/stream.py",
        "noise_start = self.n_noise", "noise_start = 0",
        "dense", ("4.2-noise-in-video",),
    ),
    Fault(
        "4.x: zeros left of the picture in the synthesis", "numchic/v4/synthesis.py",
        "row[0] = row[1]", "row[0] = 0.0",
        "synthesis", ("4.2-synthesis-neighbours-first",),
    ),
    Fault(
        "4.x: neighbours added up before the sum", "numchic/v4/synthesis.py",
        "y[k] = ((y[k] + x0 * a0) + x1 * a1) + x2 * a2\n",
        "y[k] = y[k] + ((x0 * a0 + x1 * a1) + x2 * a2)\n",
        "synthesis", ("4.2-synthesis-neighbours-first", "4.0-p"),
    ),
    Fault(
        "4.x: coefficients of a correct cosine", "numchic/v4/motion.py",
        "corrections.get(abs(parts), _windowed_sinc(parts, n_taps))",
        "_windowed_sinc(parts, n_taps)",
        "prediction", ("4.2-taps-10",),
    ),
    Fault(
        "4.x: bilinear coefficients exchanged", "numchic/v4/motion.py",
        "np.float32(1) - f, f", "f, np.float32(1) - f",
        "prediction", ("4.2-taps-2",),
    ),
    Fault(
        "4.x: vectors cut to 1/64", "numchic/v4/motion.py",
        "np.rint(place * np.float32(_PRECISION))", "np.floor(place * np.float32(_PRECISION))",
        "prediction", ("4.2-taps-8", "4.1-b"),
    ),
    Fault(
        "4.0: interpolation by two products", "numchic/v4/motion.py",
        "upper + (lower - upper) * dy", "upper * (np.float32(1) - dy) + lower * dy",
        "prediction", ("4.0-p",),
    ),
    Fault(
        "4.0: signal of a prediction limited", "numchic/v4/prediction.py",
        'np.float32(np.inf) if stream.generation == "4.0" else _ONE', "_ONE",
        "prediction", ("4.0-p", "4.0-b"),
    ),
    Fault(
        "4.x: gains of the references exchanged", "numchic/v4/prediction.py",
        "gain = beta[y // block, x // block] + _HALF",
        "gain = _HALF - beta[y // block, x // block]",
        "prediction", ("4.2-motion-blocks-*",),
    ),
    Fault(
        "4.x: residue weighed like the prediction", "numchic/v4/prediction.py",
        "prediction * alpha + residue[c, y, x]", "(prediction + residue[c, y, x]) * alpha",
        "prediction", ("4.1-p",),
    ),
    Fault(
        "4.x: references exchanged", "numchic_bitstream/v4/stream.py",
        "self.displayed[at - 1 : at + 1] if at", "self.displayed[at - 1 : at + 1][::-1] if at",
        "prediction", ("4.2-b",),
    ),
    Fault(
        "4.x: samples rounded down", "numchic/v4/frame.py",
        "float(source[x] * factor) + 0.5", "float(source[x] * factor)",
        "samples", ("4.2-rgb-9b", "4.2-p"),
    ),
    Fault(
        "4.x: largest sample of 8 bits shifted", "numchic/v4/frame.py",
        "(1 << self._bitdepth) - 1", "255 << self._bitdepth - 8",
        "samples", ("4.2-rgb-12b", "4.2-yuv444-10b"),
    ),
)  # fmt: skip

STAGES = ("parameters", "latents", "dense", "synthesis", "prediction", "samples")


def broken_copy(fault: Fault, folder: Path) -> None:
    """Copy the packages into a folder, with bytecode if there is some, and plant the fault."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / Path(package).name)
    path = folder / fault.file
    source = path.read_text(encoding="utf-8")
    if source.count(fault.old) != 1:
        raise ValueError(
            f"{fault.name}: the source to change occurs {source.count(fault.old)} times"
        )
    path.write_text(source.replace(fault.old, fault.new), encoding="utf-8")


def finding(result: Result) -> str:
    """Where a result says that the decoder is wrong."""
    if result.divergence is not None:
        return base_name(result.divergence.stage)
    if result.outcome is Outcome.FAIL:
        return "accepted" if "must be refused" in result.message else "refused"
    return str(result.outcome)


def is_located(fault: Fault, findings: Counter[str]) -> bool:
    """Whether the stage of the fault was found wrong and none of the stages before it."""
    order = STAGES.index(fault.stage) if fault.stage in STAGES else len(STAGES)
    return fault.stage in findings and not any(stage in findings for stage in STAGES[:order])


def run_fault(fault: Fault, all_vectors: bool, jobs: int = 2) -> tuple[Counter[str], int, str]:
    """Run the suite against a broken copy: findings, number of vectors, the first divergence."""
    vectors = [v for suite in load_suites() for v in suite.vectors]
    vectors = select(vectors, Level.CORE, () if all_vectors else fault.vectors)
    with tempfile.TemporaryDirectory(prefix="numchic-faults-") as name:
        folder = Path(name)
        broken_copy(fault, folder)
        variables = {"NUMCHIC_CACHE_DIR": str(folder / "cache")}
        if not all_vectors:
            variables["NUMCHIC_KERNELS"] = "python"
        settings = " ".join(f"{key}={value}" for key, value in variables.items())
        command = (
            f"env {settings} {sys.executable} {OUTSIDE} {folder} {{input}} {{output}} {{stages}}"
        )
        known = {vector.generation for vector in vectors}
        decoder = CommandDecoder(command)
        results = list(run_vectors(vectors, command=decoder, jobs=jobs, generations=known))
    failures = [result for result in results if result.outcome.is_failure]
    shown = next((r for r in failures if finding(r) == fault.stage), None)
    sample = "" if shown is None else f"{shown.id}: {shown.divergence or shown.message}"
    return Counter(map(finding, failures)), len(results), sample


def main() -> int:
    parser = argparse.ArgumentParser(description="see that planted faults are found")
    parser.add_argument("names", nargs="*", help="of faults; default: all")
    parser.add_argument("--all-vectors", action="store_true", help="the whole core level")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - {fault.name for fault in FAULTS}
    if unknown:
        parser.error(f"no such fault: {', '.join(sorted(unknown))}")
    missed = 0
    for fault in FAULTS:
        if arguments.names and fault.name not in arguments.names:
            continue
        start = time.monotonic()
        findings, n, sample = run_fault(fault, arguments.all_vectors)
        good = is_located(fault, findings)
        missed += not good
        verdict = "found" if good else "MISSED"
        seconds = time.monotonic() - start
        print(
            f"{verdict:7s} {fault.name}: {findings.total()} of {n} vectors fail ({seconds:.0f} s)"
        )
        print(f"        {dict(findings)}; {sample}", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
