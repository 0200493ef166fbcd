# SPDX-License-Identifier: BSD-3-Clause
"""What the trained videos are: the clips that their script draws, in every kind of stream."""

from __future__ import annotations

from itertools import pairwise
from statistics import fmean

import pytest

import numchic
from make_trained_videos import ENCODES, Encode, frames, path_of
from numchic_bitstream import Stream, read_stream, read_trailer
from numchic_conformance.coverage.facts import stream_facts
from numchic_conformance.library import default_folder
from numchic_conformance.manifest import load_suite
from numchic_trainer.quality import mean_squared_error, psnr
from numchic_trainer.video.config import INTER_PRESETS

SUITE = default_folder() / "suites" / "trained-videos.json"


@pytest.fixture(scope="module")
def streams() -> dict[str, Stream]:
    return {wanted.name: read_stream(path_of(wanted).read_bytes()) for wanted in ENCODES}


@pytest.mark.parametrize("wanted", ENCODES, ids=lambda wanted: wanted.name)
def test_a_stream_shows_its_clip(wanted: Encode) -> None:
    decoded = list(numchic.decode_frames(path_of(wanted)))
    drawn = frames(wanted)
    assert [p.data_type for p in decoded] == [wanted.form[0]] * wanted.n_frames
    assert {p.bitdepth for p in decoded} == {wanted.form[1]}
    assert psnr(fmean(map(mean_squared_error, drawn, decoded))) > 25
    last = numchic.decode(path_of(wanted), frame=wanted.n_frames - 1)
    assert last.to_bytes() == decoded[-1].to_bytes()


def test_clips_move() -> None:
    for wanted in ENCODES:
        pairs = pairwise(frames(wanted))
        moves = [psnr(mean_squared_error(*pair)) < 45 for pair in pairs]
        assert all(moves) == (wanted.name != "standing")


def test_the_suite_is_short_and_has_all_streams() -> None:
    vectors = load_suite(SUITE).vectors
    found = [(v.path.name, v.description) for v in vectors]
    assert found == [(path_of(wanted).name, wanted.description) for wanted in ENCODES]
    assert set(path_of(ENCODES[0]).parent.iterdir()) == {path_of(wanted) for wanted in ENCODES}
    assert sum(v.path.stat().st_size for v in vectors) < 100_000


def test_every_kind_of_stream(streams: dict[str, Stream]) -> None:
    headers = [frame.header for stream in streams.values() for frame in stream.frames]
    assert {h.frame_type for h in headers} == {"I", "P", "B"}
    assert {h.warp_filter_size for h in headers} == {None, 2, 4, 8, 14}
    forms = {(h.frame_data_type, h.bitdepth) for h in headers}
    assert forms >= {("yuv420", 8), ("yuv420", 10), ("yuv444", 10), ("rgb", 8), ("rgb", 16)}
    flows = {h.frame_type: set(h.global_flow) - {0} for h in headers if any(h.global_flow)}
    assert flows.keys() == {"P", "B"}
    chosen = ("random-access-4", "random-access-8", "listed", "between-intra", "no-trailer")
    paths = [path_of(wanted) for wanted in ENCODES if wanted.name in chosen]
    facts = frozenset[str]().union(*(stream_facts(path.read_bytes()) for path in paths))
    assert facts >= {"gain.alpha.inside", "gain.beta.inside", "motion.blocks", "trailer.none"}
    assert facts >= {f"structure.B-from-{pair}" for pair in ("II", "IP", "IB", "PP", "BP", "BB")}


def test_every_size_of_networks(streams: dict[str, Stream]) -> None:
    names = [f"inter-{preset}" for preset in INTER_PRESETS]
    headers = [streams[name].frames[1].residue.header for name in names]
    sizes = {(h.syn_layer, h.spatial_context_arm, h.n_hidden_layers_arm) for h in headers}
    assert len(sizes) == len(INTER_PRESETS)


def test_trailers(streams: dict[str, Stream]) -> None:
    texts = {}
    for wanted in ENCODES:
        trailer = read_trailer(path_of(wanted).read_bytes(), streams[wanted.name])
        assert (trailer is None) == (wanted.name == "no-trailer")
        if trailer is not None and trailer.metadata is not None:
            texts[wanted.name] = trailer.metadata.text
    assert texts.keys() == {"frame-rate", "metadata"}
    assert dict(texts["frame-rate"]) == {"frame-rate": "30000/1001"}
    assert dict(texts["metadata"]) == {"Title": "Eine Scheibe", "frame-rate": "25/1"}
