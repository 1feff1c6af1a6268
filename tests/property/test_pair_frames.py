"""A serial line that loses, doubles, damages and reorders never brings a wrong heartbeat."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.pair.heartbeat import Frame, FrameDecoder, Heartbeat, encode_frame, stuff, unstuff
from gateway.pair.words import Role

BEATS = st.builds(
    Heartbeat,
    site=st.text(max_size=5),
    node=st.text(max_size=5),
    boot=st.integers(0, 2**64 - 1),
    seq=st.integers(0, 2**40),
    role=st.sampled_from(Role),
    sent_ns=st.integers(0, 2**62),
)


@given(st.binary(max_size=2_000))
def test_stuffing_is_undone(data: bytes) -> None:
    assert b"\0" not in stuff(data)
    assert unstuff(stuff(data)) == data


@given(st.binary(max_size=300))
def test_any_bytes_are_answered(data: bytes) -> None:
    decoder = FrameDecoder()
    decoder.feed(data)
    beat = Heartbeat(site="s", node="a", boot=1, seq=1, role=Role.MAIN)
    assert decoder.feed(b"\0" + encode_frame(1, beat))[-1] == Frame(1, beat)


@settings(max_examples=60)
@given(st.lists(BEATS, min_size=1, max_size=6), st.data())
def test_what_arrives_was_sent(beats: list[Heartbeat], data: st.DataObject) -> None:
    frames = [encode_frame(number, beat) for number, beat in enumerate(beats)]
    order = data.draw(st.lists(st.sampled_from(range(len(frames))), max_size=8))
    line = bytearray(b"".join(frames[number] for number in order))
    for place in data.draw(st.lists(st.integers(0, max(0, len(line) - 1)), max_size=3)):
        if line:
            line[place] ^= data.draw(st.integers(1, 255))
    size = data.draw(st.integers(1, 40))
    decoder = FrameDecoder()
    found = []
    for at in range(0, len(line), size):
        found += decoder.feed(bytes(line[at : at + size]))
    sent = {Frame(number, beat) for number, beat in enumerate(beats)}
    assert {item for item in found if isinstance(item, Frame)} <= sent
