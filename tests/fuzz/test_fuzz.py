# SPDX-License-Identifier: BSD-3-Clause
"""Short form of the fuzzing: the committed corpus, mutations, and streams made step by step."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule
from PIL import Image

import builders
from fuzz import decoders, run
from fuzz.layout import split
from fuzz.mutator import Mutator
from fuzz.outcome import LIMITS, FindingError, require
from fuzz.seeds import corpus, seeds
from fuzz.targets import TARGETS
from numchic import opened
from numchic.files.pillow_image import FORMAT
from numchic.v5.context import max_batch
from numchic.v5.latents import _MIN_FLOAT_BATCH
from numchic_bitstream import (
    CoolChic,
    CorruptError,
    Frame,
    Stream,
    UsageError,
    read_stream,
    write_stream,
)
from strategies import COMPILED

N_MUTATIONS = {
    "headers": 3000,
    "streams": 1500,
    "trailer": 2000,
    "info": 1000,
    "parameters": 1500,
    "rangecoder": 6000,
    "latents": 700,
    "decode": 1200,
    "video": 300,
    "v4": 600,
    "pillow": 800,
}


@pytest.fixture(autouse=True)
def no_traces(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(opened, "_MAX_DEFAULT_THREADS", 1)
    yield
    if FORMAT in Image.OPEN:
        Image.OPEN.pop(FORMAT)
        Image.ID.remove(FORMAT)


def test_every_target_has_a_corpus() -> None:
    assert N_MUTATIONS.keys() == TARGETS.keys()
    assert all(corpus(target) and seeds(target) for target in TARGETS)


@pytest.mark.parametrize("target", TARGETS)
def test_corpus(target: str) -> None:
    for data in corpus(target) + seeds(target):
        TARGETS[target].run(data)


@pytest.mark.parametrize("target", TARGETS)
def test_mutations(target: str) -> None:
    """Always the same ones; a failure is an input to add to ``tests/findings``."""
    pool = corpus(target) + seeds(target)
    mutate, rng = Mutator(target, pool), Random(1)
    outcomes = set()
    for i in range(N_MUTATIONS[target] // (1 if COMPILED else 20)):
        data = mutate(rng.choice(pool), TARGETS[target].max_size, i)
        try:
            outcomes.add(TARGETS[target].run(data))
        except Exception as error:
            error.add_note(f"input of {target}: {data.hex()}")
            raise
    assert len(outcomes) >= 4


def test_some_latents_are_decoded_in_float64() -> None:
    sizes = [decoders.header(i).img_size for i in range(len(decoders.ARCHITECTURES))]
    assert max(max_batch(*size) for size in sizes) >= _MIN_FLOAT_BATCH


def test_mutations_depend_on_the_seed_alone() -> None:
    pool = seeds("decode")
    first, second = Mutator("decode", pool), Mutator("decode", pool)
    made = [first(pool[0], 1000, seed) for seed in range(200)]
    assert made == [second(pool[0], 1000, seed) for seed in range(200)]
    assert len(set(made)) > 150
    crossed = {first.crossover(pool[0], pool[1], 1000, seed) for seed in range(50)}
    assert len(crossed) > 10


@pytest.mark.parametrize("data", [builders.stream(), builders.video()])
def test_split_finds_every_part(data: bytes) -> None:
    parts = split(data)
    stream = read_stream(data)
    assert [part.start for part in parts] == [0, *(part.stop for part in parts[:-1])]
    assert parts[-1].stop == len(data)
    found = [data[part.start : part.stop] for part in parts if part.kind in {"nn", "latent"}]
    decoders_found = [part for frame in stream.frames for part in frame.parts]
    assert found == [p for d in decoders_found for p in (d.nn_payload, d.latent_payload)]


def test_rebuilding_gives_decodable_streams() -> None:
    """One of the structured mutations; without it the networks would be the same for ever."""
    data = builders.stream()
    mutator = Mutator("decode", [data])
    outcomes = []
    for seed in range(60):
        mutator.rng.seed(seed)
        outcomes.append(TARGETS["decode"].run(mutator._rebuild(data, split(data))))
    assert sum(outcome.startswith("picture") for outcome in outcomes) > 20


def test_the_command() -> None:
    words = [sys.executable, run.__file__, "headers", "--random", "1", "--seed", "1"]
    path = os.pathsep.join(filter(None, sys.path))
    environment = os.environ | {"PYTHONPATH": path}
    result = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "seed 1" in result.stdout
    assert "no finding" in result.stdout


def test_what_shows_a_bug_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def target(data: bytes) -> str:
        require(data == b"good", "a bug")
        return "good"

    monkeypatch.setitem(TARGETS, "headers", TARGETS["headers"]._replace(run=target))
    with pytest.raises(FindingError) as caught:
        run.run_random("headers", [b"good"], 60, 1)
    (note,) = caught.value.__notes__
    data = bytes.fromhex(note.removeprefix("input of headers: "))
    assert data != b"good"


@pytest.mark.skipif(find_spec("atheris") is None, reason="atheris is not installed")
def test_the_engine_runs_and_merges(tmp_path: Path) -> None:
    for words in (["-runs=300"], ["-merge=1", "new", f"findings{os.sep}corpus-headers"]):
        (tmp_path / "new").mkdir(exist_ok=True)
        command = [sys.executable, run.__file__, "headers", *words]
        result = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300
        )
        assert result.returncode == 0, result.stderr
    assert 0 < len(list((tmp_path / "new").iterdir())) <= len(corpus("headers")) + 300


_NUMBERS = st.integers(0, 1 << 16)
_CHANGES = st.one_of(
    st.fixed_dictionaries({"img_size": st.tuples(st.integers(1, 12), st.integers(1, 12))}),
    st.fixed_dictionaries({"latent_resolution": st.tuples(st.integers(0, 3), st.integers(0, 3))}),
    st.fixed_dictionaries({"spatial_context_arm": st.integers(0, 41)}),
    st.fixed_dictionaries({"flag_common_randomness": st.integers(0, 1)}),
    st.fixed_dictionaries({"nn_n_bit_pad": st.integers(0, 7)}),
)


class Streams(RuleBasedStateMachine):
    """A stream whose parts are exchanged and damaged; every state is read, written and decoded."""

    parts: Bundle[CoolChic] = Bundle("parts")

    def __init__(self) -> None:
        super().__init__()
        self.data = builders.stream()
        self.canonical = True

    def _write(self, stream: Stream) -> None:
        """Write a stream, unless it contradicts itself."""
        with contextlib.suppress(CorruptError, UsageError):
            self.data, self.canonical = write_stream(stream), True

    def _stream(self) -> Stream:
        return read_stream(self.data if self.canonical else builders.stream(), LIMITS)

    def _change_frame(self, **changes: Any) -> None:
        stream = self._stream()
        frame = dataclasses.replace(stream.frames[0], **changes)
        self._write(dataclasses.replace(stream, frames=(frame, *stream.frames[1:])))

    def _change_part(self, **changes: Any) -> None:
        self._change_frame(residue=dataclasses.replace(self._stream().frames[0].residue, **changes))

    @rule(target=parts, number=st.integers(0, 7), seed=st.integers(0, 3), magnitude=_NUMBERS)
    def make_part(self, number: int, seed: int, magnitude: int) -> CoolChic:
        architecture = decoders.ARCHITECTURES[number]
        return builders.random_coolchic(seed, magnitude % 3000, **architecture)

    @rule(part=parts)
    def exchange_decoder(self, part: CoolChic) -> None:
        self._change_frame(residue=part)

    @rule(part=parts)
    def exchange_networks(self, part: CoolChic) -> None:
        self._change_part(nn_payload=part.nn_payload)

    @rule(part=parts)
    def exchange_latents(self, part: CoolChic) -> None:
        self._change_part(latent_payload=part.latent_payload)

    @rule(payload=st.binary(min_size=1, max_size=40))
    def put_any_latents(self, payload: bytes) -> None:
        self._change_part(latent_payload=payload)

    @rule(changes=_CHANGES)
    def change_header(self, changes: dict[str, Any]) -> None:
        header = self._stream().frames[0].residue.header
        self._change_part(header=dataclasses.replace(header, **changes))

    @rule(
        data_type=st.sampled_from(("rgb", "yuv420", "yuv444", "flow")), bitdepth=st.integers(7, 17)
    )
    def change_samples(self, data_type: str, bitdepth: int) -> None:
        header = self._stream().frames[0].header
        changes: dict[str, Any] = {"frame_data_type": data_type, "bitdepth": bitdepth}
        self._change_frame(header=dataclasses.replace(header, **changes))

    @rule(first=parts, second=parts)
    def make_a_video(self, first: CoolChic, second: CoolChic) -> None:
        stream = self._stream()
        frames = [
            Frame(dataclasses.replace(stream.frames[0].header, display_index=i), part)
            for i, part in enumerate((first, second))
        ]
        header = dataclasses.replace(stream.header, intra_pos=(1, 0))
        self._write(dataclasses.replace(stream, header=header, frames=tuple(frames)))

    @rule(at=_NUMBERS, bit=st.integers(0, 7))
    def flip_a_bit(self, at: int, bit: int) -> None:
        flipped = bytearray(self.data or b"\0")
        flipped[at % len(flipped)] ^= 1 << bit
        self.data, self.canonical = bytes(flipped), False

    @rule(size=_NUMBERS)
    def truncate(self, size: int) -> None:
        self.data, self.canonical = self.data[: size % (len(self.data) + 1)], False

    @rule(more=st.binary(max_size=20))
    def append(self, more: bytes) -> None:
        self.data += more

    @rule(seed=_NUMBERS)
    def mutate(self, seed: int) -> None:
        self.data = Mutator("decode", [builders.stream()])(self.data, 1000, seed)
        self.canonical = False

    @invariant()
    def what_is_written_reads_the_same(self) -> None:
        if self.canonical:
            stream = read_stream(self.data)
            assert write_stream(stream) == self.data[: stream.n_bytes]
        TARGETS["streams"].run(self.data)

    @invariant()
    def a_picture_or_a_typed_error_and_always_the_same(self) -> None:
        outcome = TARGETS["decode"].run(self.data)
        assert TARGETS["decode"].run(self.data) == outcome


TestStreams = Streams.TestCase
TestStreams.settings = settings(
    max_examples=30 if COMPILED else 5, stateful_step_count=15, deadline=None
)
