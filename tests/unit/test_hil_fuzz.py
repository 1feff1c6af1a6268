"""A packet of the fuzzer is a function of its seed and number; mutations do what they say."""

from __future__ import annotations

import struct
from random import Random

import pytest
from asyncua.common.connection import MessageChunk
from asyncua.crypto.security_policies import SecurityPolicyNone

from hil.fuzz import mutate
from hil.fuzz.attack import alteration

DATA = b"\x01\x00\x77\x02" + struct.pack("<i", 3) + b"abc" + bytes(20)


@pytest.mark.parametrize(
    "mutation", dict.fromkeys((*mutate.BODY, mutate.bad_frame)), ids=lambda m: m.__name__
)
def test_a_mutation_is_made_again_by_the_same_chance(mutation: mutate.Mutation) -> None:
    made = [mutation(Random(number), DATA) for number in range(50)]
    assert made == [mutation(Random(number), DATA) for number in range(50)]
    assert sum(one != DATA for one in made) > 40


def test_lengths_are_found_where_they_stand() -> None:
    assert 4 in mutate.lengths(DATA)
    changed = {mutate.relength(Random(number), DATA)[4:8] for number in range(300)}
    assert struct.pack("<i", -4) in changed and struct.pack("<i", 2**31 - 1) in changed


@pytest.mark.parametrize("depth", mutate.DEEP)
def test_bombs_are_small(depth: int) -> None:
    for nest in (
        mutate.nested_variants,
        mutate.nested_values,
        mutate.nested_diagnostics,
        mutate.nested_arrays,
        mutate.nested_objects,
    ):
        assert len(nest(depth // 2)) < 65_000


def test_chunks_are_altered_in_every_way() -> None:
    seen = set()
    for number in range(200):
        name, alter = alteration(Random(number))
        chunks = MessageChunk.message_to_chunks(SecurityPolicyNone(), bytes(500), 200)
        for place, chunk in enumerate(chunks, 5):
            chunk.SequenceHeader.SequenceNumber = place
        plain = [chunk.to_binary() for chunk in chunks]
        if [chunk.to_binary() for chunk in alter(chunks)] != plain:
            seen.add(name)
    assert seen == {
        "sequence", "repeated", "reversed", "request", "channel", "token", "abort", "endless",
    }  # fmt: skip
