# SPDX-License-Identifier: BSD-3-Clause
"""Frames over time: order, what is kept, threads, stopping; and the functions for videos."""

from __future__ import annotations

import gc
import hashlib
import threading
import time
import tracemalloc
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import builders
import numchic
from children import compiled_only
from numchic.memory import estimate_memory
from numchic.schedule import Progress
from numchic.video import DecodedFrame, References, decode_video, decoding_order, max_pictures
from numchic_bitstream import VideoHeader, append_trailer, read_stream
from numchic_bitstream.structure import CodedFrame
from numchic_bitstream.v5.structure import coding_order
from strategies import video_headers

THREADS = pytest.mark.parametrize("threads", [1, 2, 5])
PYRAMID = VideoHeader(n_frames=12, intra_pos=(0, 7), p_pos=(3, 11))
VIDEO = builders.video(structure=PYRAMID)


def digest(picture: numchic.Picture) -> str:
    return hashlib.sha256(picture.to_bytes()).hexdigest()


DIGESTS = [digest(picture) for picture in numchic.decode_frames(VIDEO, threads=1)]


# --- Order -------------------------------------------------------------------------------------


@given(header=video_headers(), data=st.data())
def test_order(header: VideoHeader, data: st.DataObject) -> None:
    places = coding_order(header)
    first, stop = sorted(data.draw(st.tuples(*[st.integers(0, len(places))] * 2)))
    wanted = range(len(places))[first:stop] or range(1)
    order = [places[i] for i in decoding_order(places, wanted)]
    indices = [frame.display_index for frame in order]
    assert len(set(indices)) == len(indices)
    assert set(wanted) <= set(indices)
    for i, frame in enumerate(order):
        assert set(frame.references) <= set(indices[:i])
    used = {i for frame in order for i in frame.references}
    assert set(indices) == used | set(wanted)


def test_a_long_chain_is_no_problem() -> None:
    header = VideoHeader(n_frames=4095, p_pos=tuple(range(1, 4095)))
    places = coding_order(header)
    assert decoding_order(places, [4094]) == list(range(4095))
    assert max_pictures(places, [4094]) <= 4
    assert max_pictures(places, range(4095)) <= 4
    decoder = FakeDecoder(places)
    ((place, _),) = decode_video(places, [4094], decoder, threads=1)
    assert place == 4094
    assert decoder.most <= 4


def test_few_pictures_are_kept() -> None:
    """All P frames come first in the stream, but are not decoded then."""
    header = VideoHeader(n_frames=4001, p_pos=tuple(range(8, 4001, 8)))
    assert max_pictures(coding_order(header), range(4001)) <= 7
    longest = VideoHeader(n_frames=4095, intra_pos=(0, 4094))
    assert max_pictures(coding_order(longest), range(4095)) <= 15


# --- The loop, with frames that need no decoding -------------------------------------------------


class FakeDecoder:
    """Gives pictures whose only sample is their place; knows which of them are alive."""

    def __init__(self, places: Sequence[CodedFrame]) -> None:
        self.places = places
        self.alive: weakref.WeakSet[numchic.Picture] = weakref.WeakSet()
        self.most = 0
        self.calls: list[int] = []
        self.lock = threading.Lock()

    def __call__(
        self, index: int, references: References, *, threads: int, progress: Progress | None
    ) -> DecodedFrame:
        assert threads >= 1
        if progress is not None:
            progress("latents", 1, 1)
        found = [int(picture.planes[0][0, 0]) for picture in references()]
        expected = self.places[index].references
        assert [self.places[i].display_index for i in found] == list(expected)
        plane = np.full((1, 1), index, np.uint16)
        picture = numchic.Picture((plane, plane, plane), "rgb", 16)
        with self.lock:
            self.calls.append(index)
            self.alive.add(picture)
            self.most = max(self.most, len(self.alive))
        return DecodedFrame(picture)


@THREADS
@given(header=video_headers())
def test_the_loop(threads: int, header: VideoHeader) -> None:
    places = coding_order(header)
    wanted = range(len(places))[len(places) // 3 :: 2] or range(1)
    decoder = FakeDecoder(places)
    shown = []
    for place, frame in decode_video(places, wanted, decoder, threads=threads):
        assert frame.picture.planes[0][0, 0] == place
        shown.append(places[place].display_index)
        del frame
    assert shown == list(wanted)
    assert sorted(decoder.calls) == sorted(decoding_order(places, wanted))
    assert decoder.most <= max_pictures(places, wanted, threads if threads > 1 else 0)


@THREADS
def test_a_long_video_keeps_few_pictures(threads: int) -> None:
    places = coding_order(VideoHeader(n_frames=801, p_pos=tuple(range(8, 801, 8))))
    decoder = FakeDecoder(places)
    for _, frame in decode_video(places, range(801), decoder, threads=threads):
        del frame
        time.sleep(0)
    assert decoder.most <= 8 + 3 * threads


@THREADS
def test_an_error_comes_when_its_frame_is_due(threads: int) -> None:
    places = coding_order(PYRAMID)

    def fail(index: int, references: References, **_: Any) -> DecodedFrame:
        references()
        if places[index].display_index == 3:
            raise numchic.CorruptError("broken", "somewhere", 1)
        plane = np.zeros((1, 1), np.uint8)
        return DecodedFrame(numchic.Picture((plane, plane, plane), "rgb", 8))

    before = set(threading.enumerate())
    shown: list[int] = []
    frames = decode_video(places, range(12), fail, threads=threads)
    with pytest.raises(numchic.CorruptError, match="broken"):
        shown.extend(places[place].display_index for place, _ in frames)
    assert shown == [0]  # the others before 3 are predicted from it
    assert set(threading.enumerate()) == before


# --- Functions ---------------------------------------------------------------------------------


@THREADS
def test_the_number_of_threads_changes_nothing(threads: int) -> None:
    assert [digest(p) for p in numchic.decode_frames(VIDEO, threads=threads)] == DIGESTS
    assert digest(numchic.decode(VIDEO, frame=5, threads=threads)) == DIGESTS[5]


def test_frames_on_their_own() -> None:
    assert [digest(numchic.decode(VIDEO, frame=i)) for i in range(12)] == DIGESTS
    for part in (slice(3, 7), slice(None, None, 5), slice(-2, None), slice(11, 12)):
        found = [digest(p) for p in numchic.decode_frames(VIDEO, frames=part)]
        assert found == DIGESTS[part]


def test_only_what_is_needed_is_decoded() -> None:
    """The payload of another frame may be broken."""
    stream = read_stream(VIDEO)
    last = next(f for f in stream.frames if f.header.display_index == 10)
    broken = bytearray(VIDEO)
    broken[last.residue.nn_offset : last.residue.nn_offset + 16] = bytes(16)
    assert digest(numchic.decode(bytes(broken), frame=2)) == DIGESTS[2]
    with pytest.raises(numchic.CorruptError):
        numchic.decode(bytes(broken), frame=10)
    shown: list[str] = []
    pictures = numchic.decode_frames(bytes(broken), threads=1)
    with pytest.raises(numchic.CorruptError):
        shown.extend(digest(picture) for picture in pictures)
    assert shown == DIGESTS[: len(shown)]
    assert len(shown) >= 8


def test_a_still_is_a_video_of_one_frame() -> None:
    still = builders.stream()
    (picture,) = numchic.decode_frames(still)
    assert (
        digest(picture) == digest(numchic.decode(still)) == digest(numchic.decode(still, frame=0))
    )


@pytest.mark.parametrize("frame", [None, -1, 12, 1.5, "1"])
def test_a_frame_must_be_chosen(frame: Any) -> None:
    with pytest.raises(numchic.UsageError) as caught:
        numchic.decode(VIDEO, frame=frame)
    assert (caught.value.field, caught.value.allowed) == ("frame", "0..11")


@pytest.mark.parametrize(
    "frames",
    [slice(12, None), slice(5, 5), slice(None, None, -1), slice(0, 3, 0), slice("1"), 0, 5, [1, 2]],
)
def test_some_frames_must_be_chosen(frames: Any) -> None:
    with pytest.raises(numchic.UsageError, match="frames"):
        numchic.decode_frames(VIDEO, frames=frames)


@pytest.mark.parametrize(
    ("frames", "found"),
    [(slice(3, 2), "3:2"), (slice(12, None), "12:"), (slice(None, None, -1), "::-1"), (5, 5)],
)
def test_frames_that_are_not_there_are_named_as_one_writes_them(frames: Any, found: object) -> None:
    with pytest.raises(numchic.UsageError) as caught:
        numchic.decode_frames(VIDEO, frames=frames)
    assert caught.value.found == found


def test_arguments_and_headers_are_checked_at_once() -> None:
    with pytest.raises(numchic.TruncatedError):
        numchic.decode_frames(VIDEO[:-1])
    with pytest.raises(numchic.UsageError):
        numchic.decode_frames(VIDEO, threads=0)
    for field in ("frames", "work", "total_work", "memory_bytes"):
        with pytest.raises(numchic.LimitError) as caught:
            numchic.decode_frames(VIDEO, limits=numchic.Limits(**{field: 11}))
        assert caught.value.field == field


@compiled_only
def test_threads_that_find_nothing_to_do_take_no_memory() -> None:
    data = builders.video(structure=VideoHeader(n_frames=200, p_pos=tuple(range(1, 200))))
    limits = numchic.Limits(memory_bytes=estimate_memory(read_stream(data), 64))
    pictures = numchic.decode_frames(data, threads=1000, limits=limits)
    assert next(pictures).height == 4
    pictures.close()


def test_work_counts_frames_and_warping() -> None:
    still = numchic.Limits(total_work=read_work(builders.video(structure=VideoHeader())))
    with pytest.raises(numchic.LimitError, match="total_work"):
        numchic.read_info(VIDEO, limits=still)
    small, large = (read_work(builders.video(warp_filter_size=k)) for k in (2, 14))
    assert large > small


def read_work(data: bytes) -> int:
    """Find the lowest limit that a stream passes."""
    low, high = 0, 1 << 40
    while low < high:
        middle = (low + high) // 2
        try:
            numchic.open(data, limits=numchic.Limits(total_work=middle))
        except numchic.LimitError:
            low = middle + 1
        else:
            high = middle
    return low


# --- Integrity ---------------------------------------------------------------------------------


WHOLE = builders.with_trailer(VIDEO, numchic.Metadata(text=(("Title", "x"),)))


@THREADS
def test_a_trailer_that_fits(threads: int) -> None:
    pictures = list(numchic.decode_frames(WHOLE, threads=threads))
    assert [digest(picture) for picture in pictures] == DIGESTS
    assert all(picture.metadata is not None for picture in pictures)


@THREADS
@pytest.mark.parametrize("which", ["latents_crc", "samples"])
def test_a_trailer_that_does_not_fit_is_noticed_before_the_last_frame(
    which: str, threads: int
) -> None:
    crc = numchic.read_info(WHOLE).trailer
    assert crc is not None
    assert crc.latents_crc is not None
    right = int(crc.latents_crc, 16)
    data = append_trailer(VIDEO, right ^ (which == "latents_crc"), b"wrong, 16 bytes!")
    shown: list[str] = []
    pictures = numchic.decode_frames(data, threads=threads)
    with pytest.raises(numchic.IntegrityError, match=which):
        shown.extend(digest(picture) for picture in pictures)
    assert shown == DIGESTS[:-1]
    ignoring = numchic.decode_frames(data, check_integrity=False)
    assert [digest(picture) for picture in ignoring] == DIGESTS
    # Of a part of the video nothing can be said but that its bytes are right.
    assert digest(numchic.decode(data, frame=4)) == DIGESTS[4]
    with pytest.raises(numchic.IntegrityError):
        numchic.decode(WHOLE[:200] + b"?" + WHOLE[201:], frame=4)


# --- Progress and stopping ---------------------------------------------------------------------


class Stop(Exception):  # noqa: N818 - not an error
    pass


@THREADS
def test_progress_counts_frames(threads: int) -> None:
    calls: list[tuple[str, int, int]] = []
    caller = threading.get_ident()

    def progress(stage: str, done: int, total: int) -> None:
        assert threading.get_ident() == caller
        calls.append((stage, done, total))

    list(numchic.decode_frames(VIDEO, threads=threads, progress=progress))
    assert {(stage, total) for stage, _, total in calls} == {("frames", 12)}
    done = [done for _, done, _ in calls]
    assert done == sorted(done)
    assert done[-1] == 12


@compiled_only
@THREADS
def test_the_callback_may_stop_at_every_call(threads: int) -> None:
    def decode(last: int) -> int:
        n_calls = 0

        def progress(*_: Any) -> None:
            nonlocal n_calls
            n_calls += 1
            assert n_calls <= last, "called again after it has raised"
            if n_calls == last:
                raise Stop

        try:
            list(numchic.decode_frames(VIDEO, threads=threads, progress=progress))
        except Stop:
            return n_calls
        return 0

    before = set(threading.enumerate())
    last = 1
    while decode(last):
        assert set(threading.enumerate()) == before
        last += 7
    assert [digest(p) for p in numchic.decode_frames(VIDEO, threads=threads)] == DIGESTS


@compiled_only
@THREADS
def test_an_iterator_may_be_closed_at_any_frame(threads: int) -> None:
    before = set(threading.enumerate())
    for n in range(13):
        pictures = numchic.decode_frames(VIDEO, threads=threads)
        for _, picture in zip(range(n), pictures, strict=False):
            assert picture.height == 4
        pictures.close()
        assert set(threading.enumerate()) == before
    gc.collect()
    assert not [o for o in gc.get_objects() if type(o).__module__ == "numchic.video"]


# --- Memory ------------------------------------------------------------------------------------


def peak_of(data: bytes, threads: int) -> int:
    tracemalloc.start()
    try:
        for picture in numchic.decode_frames(data, threads=threads):
            del picture
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@compiled_only
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("warp_filter_size", [2, 14])
@pytest.mark.parametrize("data_type", ["rgb", "yuv420"])
def test_memory_estimate_is_an_upper_bound(
    threads: int, warp_filter_size: int, data_type: Any
) -> None:
    data = builders.video(
        structure=VideoHeader(n_frames=5, intra_pos=(0, 4)),
        img_size=(150, 250),
        warp_filter_size=warp_filter_size,
        frame_data_type=data_type,
        bitdepth=10,
    )
    estimate = estimate_memory(read_stream(data), threads)
    list(numchic.decode_frames(data))  # tables and kernels
    # What the kernel for warping keeps of the row above.
    scratch = threads * 250 * (40 * warp_filter_size + 16)
    assert peak_of(data, threads) + scratch <= estimate
    assert estimate <= 6 * peak_of(data, threads) + 2 * 15_000_000


@compiled_only
@pytest.mark.parametrize("threads", [1, 2])
def test_memory_does_not_grow_with_the_length(threads: int) -> None:
    def video(n_frames: int) -> bytes:
        header = VideoHeader(n_frames=n_frames, p_pos=tuple(range(4, n_frames, 4)))
        return builders.video(structure=header, img_size=(64, 96))

    short, long = video(9), video(33)
    list(numchic.decode_frames(short))
    picture = 3 * 64 * 96
    # The payloads, which are in memory twice, and the headers grow.
    grown = peak_of(long, threads) - peak_of(short, threads) - 2 * (len(long) - len(short))
    assert grown < 24 * 15_000
    assert estimate_memory(read_stream(long)) - estimate_memory(read_stream(short)) <= (
        2 * (len(long) - len(short)) + picture
    )
