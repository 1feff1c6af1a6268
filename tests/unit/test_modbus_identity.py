"""Who a device says it is, decoded from the bytes of its replies."""

from __future__ import annotations

import pytest

from drivers.modbus import frames
from drivers.modbus.identity import answer, common_model, identify, question, server_id
from drivers.modbus.worked import wrong_values
from drivers.opcua.nodes import node_text, parse_node, resolve
from drivers.opcua.values import Builtin, natural
from gateway.errors import InvalidReply
from gateway.model import DataType
from profiles.load import load, parse


def reply(*objects: tuple[int, bytes], conformity: int = 1, following: int | None = None) -> bytes:
    head = bytes((14, 1, conformity, 0 if following is None else 0xFF, following or 0))
    body = b"".join(bytes((key, len(text))) + text for key, text in objects)
    return head + bytes((len(objects),)) + body


# Modbus Application Protocol V1.1b3, section 6.21, example of a read of basic objects.
SPECIFIED = bytes.fromhex("0E 01 01 00 00 03") + (
    bytes.fromhex("00 16") + b"Company identification"
    + bytes.fromhex("01 0D") + b"Product code "
    + bytes.fromhex("02 05") + b"V2.11"
)  # fmt: skip


def test_the_example_of_the_specification_is_read() -> None:
    page = answer(SPECIFIED)
    assert page.objects == {
        "vendor": "Company identification",
        "product_code": "Product code",
        "revision": "V2.11",
    }
    assert page.next_object is None
    frame = b"\x01\x2b" + SPECIFIED + b"\0\0"
    assert frames.rtu_reply_size(frame) == len(frame)
    for end in range(3, len(frame) - 4):
        assert frames.rtu_reply_size(frame[:end]) in (None, len(frame))
    assert frames.rtu_reply_size(b"\x01\x2b\x0d\0\0\0\0\0") == 0, "another encapsulation"


def test_all_objects_are_asked_for_page_by_page() -> None:
    asking = identify()
    assert next(asking) == question(1, 0) == bytes((14, 1, 0))
    assert asking.send(reply((0, b"Acme"), conformity=0x82, following=1)) == bytes((14, 1, 1))
    assert asking.send(reply((1, b"M7"), conformity=0x82)) == bytes((14, 2, 0))
    assert asking.send(reply((0, b"Acme"), (5, b"Seven"), conformity=0x82, following=0x80)) == (
        bytes((14, 2, 0x80))
    )
    with pytest.raises(StopIteration) as done:
        asking.send(reply((0x80, b"own"), (3, b"\0\0"), conformity=0x82))
    assert done.value.value == {
        "vendor": "Acme",
        "product_code": "M7",
        "model": "Seven",
        "object_128": "own",
    }


def test_a_device_whose_pages_never_end_is_asked_sixteen_times() -> None:
    asking = identify()
    next(asking)
    for _ in range(16):
        asking.send(reply((0, b"x"), following=0))
    with pytest.raises(StopIteration):
        asking.send(reply((0, b"x"), following=0))


@pytest.mark.parametrize("data", [b"", b"\x0d" + bytes(6), SPECIFIED[:20], SPECIFIED[:-6]])
def test_what_is_no_identification_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidReply):
        answer(data)


def test_a_server_id_is_shown_as_text_where_it_is_text() -> None:
    assert server_id(b"\x06\x01\xffAcme") == "Acme (01 ff 41 63 6d 65)"
    assert server_id(b"\x02\x01\xff") == "01 ff"
    for data in (b"", b"\x05ab"):
        with pytest.raises(InvalidReply):
            server_id(data)


def test_the_common_model_tells_maker_model_and_serial_number() -> None:
    def words(text: str, count: int) -> list[int]:
        raw = text.encode().ljust(2 * count, b"\0")
        return [int.from_bytes(raw[at : at + 2], "big") for at in range(0, 2 * count, 2)]

    model = [1, 66, *words("Fronius", 16), *words("Primo", 16), *words("", 8)]
    model += [*words("1.2", 8), *words("S123", 16)]
    assert common_model(model) == {
        "vendor": "Fronius",
        "model": "Primo",
        "revision": "1.2",
        "serial_number": "S123",
    }
    assert common_model([]) == {}


# ------------------------------------------------------------------------------ worked examples

TEXT = """\
profile: acme/m7
version: 1
vendor: Acme
models: [M7]
status: manual
source: "manual, page 7"
points:
  level: {address: 0, type: float32}
  count: {address: 2, type: uint16, scale: 0.5}
  run: {register: coil, address: 3, type: bool}
  broken: {address: 4, type: int16, nan: [-32768]}
examples:
  - source: page 7
    registers: {0: [0x3FC0, 0, 3], 3: [1], 4: [0x8000]}
    expect: EXPECT
"""


def wrong(expect: str) -> list[tuple[str, str]]:
    profile = parse(TEXT.replace("EXPECT", expect), "m7.yaml")
    return list(wrong_values(profile, profile.examples[0]))


def test_an_example_that_comes_out_is_not_wrong() -> None:
    assert wrong("{level: 1.5, count: 1.5, run: true, broken: null}") == []
    for name in ("sunspec/inverter", "eastron/sdm120"):
        profile = load(name)
        assert [w for e in profile.examples for w in wrong_values(profile, e)] == []


def test_an_example_that_does_not_come_out_says_what_does() -> None:
    assert wrong("{level: 2.5}") == [
        ("level", "the example expects 2.5, its registers give 1.5"),
    ]
    assert "BadSensorFailure" in wrong("{broken: 5}")[0][1]
    assert wrong("{level: null}") != []
    assert wrong("{run: false}") != []


def test_a_sunspec_example_without_its_mark_is_wrong() -> None:
    profile = load("sunspec/inverter")
    example = profile.examples[0].model_copy(update={"registers": {0: (0,)}})
    said = {name for name, value in example.expect.items() if value is not None}
    assert {point for point, _ in wrong_values(profile, example)} == said


# -------------------------------------------------------------------------------------- OPC UA


@pytest.mark.parametrize(
    ("text", "index"),
    [
        ("i=2258", 0),
        ("nsu=urn:plc:app;s=Flow", 1),
        ("nsu=urn:a%3Bb%25;s=x;y", 2),
        ("ns=7;i=5", 7),
        ("nsu=urn:plc:app;b=AAE=", 1),
        ("nsu=urn:plc:app;g=12345678-1234-1234-1234-123456789012", 1),
    ],
)
def test_a_node_is_written_as_it_is_read(text: str, index: int) -> None:
    namespaces = ["http://opcfoundation.org/UA/", "urn:plc:app", "urn:a;b%"]
    found = resolve(parse_node(text), namespaces)
    assert found is not None and found[1] == index
    assert node_text(*found, namespaces) == text


def test_every_built_in_type_has_the_type_of_its_point() -> None:
    assert natural(Builtin.DOUBLE) is DataType.FLOAT64
    assert natural(Builtin.SBYTE) is DataType.INT8
    assert natural(Builtin.GUID) is DataType.STRING
    assert natural(Builtin.STATUSCODE) is DataType.UINT32
    for none in (Builtin.NULL, Builtin.EXTENSIONOBJECT, Builtin.VARIANT):
        assert natural(none) is None
