"""Requests are read as the library reads them, and nothing is built that was not sent."""

from __future__ import annotations

import contextlib
import struct
import tracemalloc
import uuid
from random import Random
from typing import Any

import pytest
from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import struct_from_binary, struct_to_binary
from hypothesis import given
from hypothesis import strategies as st

from gateway.server import decoding
from gateway.server.history_request import AtTimeDetails, ticks_of
from gateway.server.services import BY_REQUEST
from gateway.server.settings import Limits
from gateway.server.wire import read_activation
from hil.fuzz import corpus
from hil.fuzz.mutate import BODY, bomb

NODES = [ua.NodeId("plc1/level", 2), ua.NodeId(2267), ua.NodeId(b"\x01\x02", 3)]
REQUESTS = [*corpus.services(NODES), *corpus.discovery(), corpus.create_session(b"certificate")]
REFUSALS = (ua.UaError, struct.error, ValueError, LookupError, RecursionError)
"""What a processor answers with a fault; anything else would be a fault of ours."""


def parameters(request: Any) -> tuple[Any, bytes]:
    return type(request.Parameters), bytes(struct_to_binary(request.Parameters))


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda r: type(r).__name__)
def test_a_request_is_read_as_the_library_reads_it(request_: Any) -> None:
    cls, data = parameters(request_)
    found, known = decoding.read(cls, data, 1_000), struct_from_binary(cls, Buffer(data))
    details = getattr(found, "HistoryReadDetails", None)
    if isinstance(details, AtTimeDetails):  # of which the library's times are rounded
        times = [ua.win_epoch_to_datetime(each) for each in ticks_of(details.times)]
        found.HistoryReadDetails = ua.ReadAtTimeDetails(times, details.use_simple_bounds)
    assert found == known


@pytest.mark.parametrize("service", BY_REQUEST.values(), ids=lambda s: s.name)
def test_every_service_has_parameters_that_can_be_read(service: Any) -> None:
    cls = getattr(ua, f"{service.name}Parameters")
    data = bytes(struct_to_binary(cls()))
    assert decoding.read(cls, data, 10) == struct_from_binary(cls, Buffer(data))


@pytest.mark.parametrize(
    "value",
    [
        ua.Variant(None, ua.VariantType.Null),
        ua.Variant(-5, ua.VariantType.SByte),
        ua.Variant(2**64 - 1, ua.VariantType.UInt64),
        ua.Variant("text", ua.VariantType.String),
        ua.Variant(b"bytes", ua.VariantType.ByteString),
        ua.Variant(ua.win_epoch_to_datetime(133_000_000_000_000_000), ua.VariantType.DateTime),
        ua.Variant(ua.QualifiedName("name", 2), ua.VariantType.QualifiedName),
        ua.Variant(ua.LocalizedText("text", "en"), ua.VariantType.LocalizedText),
        ua.Variant(ua.NodeId(uuid.UUID(int=7), 1), ua.VariantType.NodeId),
        ua.Variant(ua.StatusCode(0x80000000), ua.VariantType.StatusCode),
        ua.Variant([1.5, 2.5], ua.VariantType.Double),
        ua.Variant([], ua.VariantType.Int32, is_array=True),
    ],
    ids=lambda v: v.VariantType.name,
)
def test_a_value_is_read_as_the_library_reads_it(value: ua.Variant) -> None:
    item = ua.WriteValue(NODES[0], 13, None, ua.DataValue(value, StatusCode=None))
    data = bytes(struct_to_binary(ua.WriteParameters([item])))
    found = decoding.read(ua.WriteParameters, data, 100).NodesToWrite[0].Value.Value
    assert found == struct_from_binary(ua.WriteParameters, Buffer(data)).NodesToWrite[0].Value.Value


def test_picoseconds_lie_where_the_standard_has_them() -> None:
    """OPC 10000-6 section 5.2.2.17: those of the source before the server's timestamp."""
    ticks = 133_000_000_000_000_000
    value = struct.pack("<BqHqH", 0x3C, ticks, 7, ticks + 10, 9)
    data = bytes(struct_to_binary(ua.WriteValue(NODES[0], 13)))
    data = data[: -len(struct_to_binary(ua.DataValue()))] + value
    found = decoding.read(ua.WriteValue, data, 10).Value
    assert found.ServerTimestamp == ua.win_epoch_to_datetime(ticks + 10)
    assert (found.SourcePicoseconds, found.ServerPicoseconds) == (7, 9)


def test_a_long_list_is_read_in_stretches_and_too_long_a_one_not_at_all() -> None:
    items = [ua.ReadValueId(NODES[0], 13)] * (3 * decoding.STRETCH)
    data = bytes(struct_to_binary(ua.ReadParameters(NodesToRead=items)))
    work = decoding.reading(ua.ReadParameters, data, 10_000, "NodesToRead", len(items))
    assert sum(1 for _ in work) == 3
    short = decoding.reading(ua.ReadParameters, data[:30], 10_000, "NodesToRead", len(items) - 1)
    with pytest.raises(ua.uaerrors.BadTooManyOperations):
        next(short)


@pytest.mark.parametrize("count", [11, -1, 2**31 - 1])
def test_times_that_were_not_sent_are_not_waited_for(count: int) -> None:
    details = ua.ReadAtTimeDetails([ua.win_epoch_to_datetime(133_000_000_000_000_000)], True)
    params = ua.HistoryReadParameters(details, NodesToRead=[ua.HistoryReadValueId(NODES[0])])
    data = bytearray(struct_to_binary(params))
    # NodeId of four bytes, encoding, length; then how many times there are.
    data[9:13] = struct.pack("<i", count)
    if count < 0:
        assert decoding.read(ua.HistoryReadParameters, data, 10).HistoryReadDetails.count == 0
        return
    with pytest.raises(ua.uaerrors.BadEncodingLimitsExceeded):
        decoding.read(ua.HistoryReadParameters, data, 10)


@pytest.mark.parametrize(
    "token",
    [
        ua.AnonymousIdentityToken("anonymous"),
        ua.UserNameIdentityToken("username", "otto", b"secret", None),
        ua.X509IdentityToken("certificate", b"der" * 300),
    ],
    ids=lambda token: type(token).__name__,
)
def test_every_kind_of_user_is_read_as_the_library_reads_it(token: Any) -> None:
    params = ua.ActivateSessionParameters(UserIdentityToken=token)
    params.UserTokenSignature = ua.SignatureData("by whom", b"signed")
    found = read_activation(Buffer(struct_to_binary(params)))
    assert found.identity == token
    if isinstance(token, ua.X509IdentityToken):
        assert (found.user_algorithm, found.user_signature) == ("by whom", b"signed")


def test_what_a_service_does_not_use_stays_the_bytes_that_it_came_as() -> None:
    inner = ua.ExtensionObject(ua.NodeId(ua.ObjectIds.Argument_Encoding_DefaultBinary), b"\xff" * 9)
    item = ua.MonitoredItemModifyRequest(1, ua.MonitoringParameters(Filter=inner))
    data = bytes(struct_to_binary(item))
    assert decoding.read(ua.MonitoredItemModifyRequest, data, 10) == item


@given(seed=st.integers(0, 2**32), which=st.integers(0, len(REQUESTS) - 1), times=st.integers(1, 3))
def test_malformed_parameters_are_refused_or_read(seed: int, which: int, times: int) -> None:
    chance = Random(seed)
    cls, data = parameters(REQUESTS[which])
    for _ in range(times):
        data = chance.choice(BODY)(chance, data) or b"\0"
        data = data if len(data) > 1 else data + b"\0"
    with contextlib.suppress(REFUSALS):
        decoding.read(cls, data, Limits().max_elements)


@given(seed=st.integers(0, 2**32))
def test_a_value_made_to_hurt_is_refused_or_read(seed: int) -> None:
    item = ua.WriteValue(NODES[0], 13, None, ua.DataValue(ua.Variant(True), StatusCode=None))
    data = bytes(struct_to_binary(item))[:-2] + bomb(Random(seed))
    with contextlib.suppress(REFUSALS):
        decoding.read(ua.WriteValue, data, 1_000)


def test_filters_in_one_another_are_read_where_they_lie() -> None:
    """They came once, and are not kept once more for each that they lie in."""
    text = "x" * 1_000_000
    found = ua.EventFilter(SelectClauses=[ua.SimpleAttributeOperand(IndexRange=text)])
    for _ in range(20):
        element = ua.ContentFilterElement(FilterOperands=[found])
        found = ua.EventFilter(WhereClause=ua.ContentFilter([element]))
    data = bytes(struct_to_binary(ua.MonitoringParameters(Filter=found)))
    tracemalloc.start()
    read = decoding.read(ua.MonitoringParameters, data, 100)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert read.Filter == found
    assert peak < 4 * len(text)
