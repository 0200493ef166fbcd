# SPDX-License-Identifier: BSD-3-Clause
"""Judge what a decoder makes of one vector: our own, any function that gives stages, a command."""

from __future__ import annotations

import time
import traceback
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from numchic.v5.latents import decode_latents, encode_latents
from numchic_bitstream import (
    CoolChic,
    Frame,
    NumchicError,
    UnsupportedError,
    UsageError,
    read_parameters,
    read_stream,
    write_parameters,
    write_stream,
)
from numchic_conformance.compare import CURRENT_GENERATION, Divergence, compare_stage
from numchic_conformance.expected import (
    DivergenceError,
    NotComparableError,
    expected_stages,
    has_samples,
    require,
    require_digest,
    require_samples,
)
from numchic_conformance.manifest import Expect, Vector
from numchic_conformance.outcome import Outcome, Result
from numchic_conformance.samples import read_samples
from numchic_conformance.stages import Stages, decode_samples, decode_stages, read_stage

StageDecoder = Callable[[bytes], Stages]
"""Gives the stages of a stream, ``samples`` included, for :func:`check_stages`."""


class _Meter:
    """Wall time and peak of traced memory of what runs inside :meth:`running`."""

    seconds = 0.0
    memory_bytes: int | None = None

    @contextmanager
    def running(self) -> Iterator[None]:
        tracemalloc.start()
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds = time.perf_counter() - start
            self.memory_bytes = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()


_Check = Callable[[bytes, _Meter], None]


def check_ours(vector: Vector) -> Result:
    """Run numchic on a vector, compare every stage, and write the stream again."""

    def check(data: bytes, meter: _Meter) -> None:
        if vector.error is None and vector.digests.keys() - {"samples"}:
            for name, array in decode_stages(data):
                require_digest(vector, name, array)
        if vector.expect is not Expect.DECODE or has_samples(vector):
            with meter.running():
                samples = decode_samples(data)
            if vector.error is not None:
                raise DivergenceError(Divergence("error", "", vector.error.error, "a picture"))
            if has_samples(vector):
                require_samples(vector, data, samples, ours=True)
        if _is_rewritable(vector):
            _require_same_bytes(data, rewrite(data))

    return _judge(vector, check)


def check_stages(vector: Vector, decoder: StageDecoder) -> Result:
    """Run a function that gives stages on a vector, and compare them with our own."""

    def check(data: bytes, meter: _Meter) -> None:
        with meter.running():
            found = dict(decoder(data))
        if vector.expect is Expect.REFUSE:
            return  # which is judged below
        if vector.expect is Expect.DECODE:
            for name, expected in expected_stages(vector, data):
                if name not in found:
                    raise DivergenceError(Divergence(name, "", "an array", "nothing"))
                require(compare_stage(name, expected, found[name], vector.generation))
        if has_samples(vector):
            require_samples(vector, data, found["samples"])
        if "rewritten" in found and _is_rewritable(vector):
            _require_same_bytes(data, found["rewritten"].tobytes())

    return _judge(vector, check)


def check_output(vector: Vector, output: Path, stages: Path) -> Result:
    """Judge the files that a command has written when it said that it has decoded a vector.

    Parameters
    ----------
    vector : Vector
    output : Path
        File with the samples.
    stages : Path
        Folder in which the command may have written stages.
    """

    def check(data: bytes, _: _Meter) -> None:
        if vector.expect is Expect.REFUSE:
            return  # which is judged below
        if vector.expect is Expect.EITHER and not has_samples(vector):
            return  # whatever it shows
        assert vector.picture is not None
        n_compared = _compare_files(vector, data, stages)
        if not output.exists():
            raise UsageError("the decoder succeeded but wrote no output")
        if not has_samples(vector):
            if n_compared == 0:
                raise NotComparableError("no samples in the suite, no stage with a known name")
            return
        require_samples(vector, data, read_samples(output, vector.picture))

    return _judge(vector, check)


def check_refusal(vector: Vector, message: str, stages: Path) -> Result:
    """Judge a command that has refused a vector.

    Parameters
    ----------
    vector : Vector
    message : str
        What the command said.
    stages : Path
        Folder in which it may have written stages, which tell where it went wrong.
    """
    if vector.expect is not Expect.DECODE:
        return Result(vector.id, Outcome.PASS, message)

    def check(data: bytes, _: _Meter) -> None:
        _compare_files(vector, data, stages)

    return replace(_judge(vector, check), outcome=Outcome.FAIL, message=message)


def _compare_files(vector: Vector, data: bytes, stages: Path) -> int:
    """Compare the stages that a command has written; number of those with a known name."""
    n_compared = 0
    for name, expected in expected_stages(vector, data) if any(stages.iterdir()) else ():
        found = read_stage(stages, name)
        if found is not None:
            require(compare_stage(name, expected, found, vector.generation))
            n_compared += 1
    return n_compared


def _judge(vector: Vector, check: _Check) -> Result:
    """Outcome of a check that raises what it finds."""
    meter = _Meter()
    outcome, message, divergence = Outcome.PASS, "", None
    try:
        data = vector.read()
    except (OSError, UsageError) as error:
        return Result(vector.id, Outcome.NOT_RUN, str(error))
    try:
        check(data, meter)
        if vector.expect is Expect.REFUSE:
            outcome, message = Outcome.FAIL, "decoded, although it must be refused"
    except DivergenceError as error:
        outcome, divergence = Outcome.FAIL, error.divergence
    except NotComparableError as error:
        outcome, message = Outcome.NOT_RUN, str(error)
    except UsageError as error:
        outcome, message = Outcome.FAIL, str(error)
    except NumchicError as error:
        outcome, message = _judge_error(vector, error), f"{type(error).__name__}: {error}"
    except Exception:
        outcome, message = Outcome.CRASH, traceback.format_exc().strip().splitlines()[-1]
    return Result(vector.id, outcome, message, divergence, meter.seconds, meter.memory_bytes)


def _judge_error(vector: Vector, error: NumchicError) -> Outcome:
    found, wanted = (type(error).__name__, error.field), vector.error
    expected = wanted is not None and found == (wanted.error, wanted.field)
    if isinstance(error, UnsupportedError) and not expected:
        return Outcome.NOT_SUPPORTED
    if vector.expect is Expect.DECODE:
        return Outcome.FAIL
    return Outcome.PASS if expected or wanted is None else Outcome.WRONG_ERROR


def _is_rewritable(vector: Vector) -> bool:
    current = vector.generation == CURRENT_GENERATION
    return current and vector.canonical and vector.expect is Expect.DECODE


def rewrite(data: bytes) -> bytes:
    """Decode parameters and latents of a stream and write them again."""
    stream = read_stream(data)
    frames = []
    for frame in stream.frames:
        frames.append(Frame(frame.header, *(_rewrite_part(part) for part in frame.parts)))
    return write_stream(replace(stream, frames=tuple(frames)))


def _rewrite_part(part: CoolChic) -> CoolChic:
    parameters = read_parameters(part.header, part.nn_payload, part.nn_offset)
    nn_payload, _ = write_parameters(part.header, parameters)
    grids = decode_latents(part, parameters)
    return CoolChic(part.header, nn_payload, encode_latents(part.header, parameters, grids))


def _require_same_bytes(data: bytes, written: bytes) -> None:
    """Compare what was written with the stream; bytes after the last frame do not count."""
    data = data[: max(len(written), read_stream(data).n_bytes)]
    if data == written:
        return
    pairs = enumerate(zip(data, written, strict=False))
    first = next((i for i, (a, b) in pairs if a != b), min(len(data), len(written)))
    expected, found = (x[first : first + 4].hex() or "the end" for x in (data, written))
    raise DivergenceError(Divergence("rewritten", f"byte {first}", expected, found))
