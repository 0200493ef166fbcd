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
        "target[x] += np.float32(grid[first + i, x])", "target[x] += np.float32(0.0)",
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
        "samples", ("resize-bicubic-*",),
    ),
    Fault(
        "positions of nearest in float64", "numchic/v5/resize.py",
        "np.floor(d.astype(np.float32) * ratio)", "np.floor(d * (n / m))",
        "samples", ("resize-nearest-*",),
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
        "4:2:0 without the first rounding", "numchic/v5/frame.py",
        "unit = rounded[1:] / maximum", "unit = signal[1:]",
        "samples", ("yuv420-10b-*",),
    ),
    Fault(
        "4:2:0 clamped before the mean", "numchic/v5/frame.py",
        "unit = rounded[1:] / maximum", "unit = np.clip(rounded[1:] / maximum, 0, 1)",
        "samples", ("yuv420-8b-unclamped",),
    ),
    Fault(
        "halves rounded up", "numchic/v5/frame.py",
        "chroma = np.rint(mean * maximum)", "chroma = np.floor(mean * maximum + np.float32(0.5))",
        "samples", ("yuv420-8b-*",),
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
)  # fmt: skip

STAGES = ("parameters", "latents", "dense", "synthesis", "samples")


def broken_copy(fault: Fault, folder: Path) -> None:
    """Copy the packages into a folder and plant the fault."""
    for package in PACKAGES:
        shutil.copytree(
            ROOT / package,
            folder / Path(package).name,
            ignore=shutil.ignore_patterns("__pycache__"),
        )
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
            variables["NUMBA_DISABLE_JIT"] = "1"
        settings = " ".join(f"{key}={value}" for key, value in variables.items())
        command = (
            f"env {settings} {sys.executable} {OUTSIDE} {folder} {{input}} {{output}} {{stages}}"
        )
        results = list(run_vectors(vectors, command=CommandDecoder(command), jobs=jobs))
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
