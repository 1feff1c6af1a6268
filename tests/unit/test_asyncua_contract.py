"""What we use of asyncua that it does not promise: a new release that changes it fails here."""

from __future__ import annotations

import inspect
from importlib.metadata import version

import pytest
from asyncua import Server, ua
from asyncua.common.connection import SecureConnection, TransportLimits
from asyncua.crypto.security_policies import (
    SECURITY_POLICY_TYPE_MAP,
    SecurityPolicyFactory,
    SecurityPolicyNone,
)
from asyncua.server.address_space import AddressSpace, AttributeValue, NodeData, ViewService
from asyncua.server.binary_server_asyncio import BinaryServer, OPCUAProtocol
from asyncua.server.internal_server import InternalServer
from asyncua.server.uaprocessor import UaProcessor
from asyncua.ua.ua_binary import extensionobject_to_binary

from gateway.server.nodes import Layers


def test_the_release_is_the_one_that_was_read() -> None:
    assert version("asyncua") == "2.1.0"


@pytest.mark.parametrize(
    ("owner", "method", "parameters"),
    [
        (UaProcessor, "__init__", ["self", "internal_server", "transport", "limits"]),
        (UaProcessor, "process", ["self", "header", "body"]),
        (UaProcessor, "process_message", ["self", "seqhdr", "body"]),
        (UaProcessor, "set_policies", ["self", "policies"]),
        (
            UaProcessor,
            "send_response",
            ["self", "requesthandle", "seqhdr", "response", "msgtype"],
        ),
        (
            OPCUAProtocol,
            "__init__",
            ["self", "iserver", "policies", "clients", "closing_tasks", "limits"],
        ),
        (OPCUAProtocol, "_activation_watchdog", ["self"]),
        (
            BinaryServer,
            "__init__",
            ["self", "internal_server", "hostname", "port", "limits"],
        ),
        (BinaryServer, "_make_protocol", ["self"]),
        (Server, "_setup_server_nodes", ["self"]),
        (ViewService, "_suitable_reftype", ["self", "ref1", "ref2", "subtypes"]),
        (ViewService, "_get_sub_ref", ["self", "ref"]),
        (SecureConnection, "open", ["self", "params", "server"]),
        (SecureConnection, "select_policy", ["self", "uri", "peer_certificate", "mode"]),
        (SecureConnection, "receive_from_header_and_body", ["self", "header", "body"]),
        (SecurityPolicyFactory, "create", ["self", "peer_certificate"]),
    ],
)
def test_the_methods_we_override_or_call_are_as_they_were(
    owner: type, method: str, parameters: list[str]
) -> None:
    assert list(inspect.signature(getattr(owner, method)).parameters) == parameters


def test_the_nodes_of_an_address_space_may_lie_in_another_mapping() -> None:
    space = AddressSpace()
    below, above = NodeData(ua.NodeId("a", 1)), NodeData(ua.NodeId("b", 2))
    space._nodes = Layers({below.nodeid: below}, {})
    space[above.nodeid] = above
    assert space[below.nodeid] is below and space.get(above.nodeid) is above
    assert above.nodeid in space and set(space.keys()) == {below.nodeid, above.nodeid}
    assert space._nodes.site == {above.nodeid: above} and len(space.keys()) == 2
    del space[above.nodeid]
    status = space.read_attribute_value(above.nodeid, ua.AttributeIds.Value).StatusCode
    assert status.value == ua.StatusCodes.BadNodeIdUnknown


def test_an_attribute_is_a_value_or_a_callback() -> None:
    found = AttributeValue(ua.DataValue(ua.Variant(1, ua.VariantType.Int32)))
    assert set(vars(found)) == {"value", "value_callback", "value_setter", "datachange_callbacks"}
    space = AddressSpace()
    data = NodeData(ua.NodeId("x", 2))
    assert set(vars(data)) == {"nodeid", "attributes", "references", "call"}
    found.value = None
    found.value_callback = lambda nodeid, _attribute: ua.DataValue(ua.Variant(nodeid.Identifier))
    data.attributes[ua.AttributeIds.Value] = found
    space[data.nodeid] = data
    assert space.read_attribute_value(data.nodeid, ua.AttributeIds.Value).Value.Value == "x"


def test_the_internal_server_keeps_what_we_set() -> None:
    internal = InternalServer()
    for name in (
        "view_service",
        "allow_remote_admin",
        "disabled_clock",
        "aspace",
        "endpoints",
        "asyncio_transports",
        "method_service",
        "private_key",
        "certificate",
        "supported_tokens",
        "max_pending_messages_per_connection",
    ):
        assert hasattr(internal, name), name
    internal.method_service.stop()


def test_the_processor_holds_a_connection_that_is_closed_at_first() -> None:
    class Transport:
        def get_extra_info(self, _name: str) -> tuple[str, int]:
            return ("127.0.0.1", 4840)

    internal = InternalServer()
    processor = UaProcessor(internal, Transport(), TransportLimits())
    assert not processor._connection.is_open()
    assert isinstance(processor._connection.security_policy, SecurityPolicyNone)
    assert processor.name == ("127.0.0.1", 4840)
    assert processor.iserver is internal
    internal.method_service.stop()


def test_a_prepared_extension_object_is_written_as_it_is() -> None:
    node_id = ua.NodeId(ua.ObjectIds.HistoryData_Encoding_DefaultBinary)
    found = extensionobject_to_binary(ua.ExtensionObject(node_id, b"\x00\x00\x00\x00"))
    assert found == extensionobject_to_binary(ua.HistoryData())


def test_a_filter_is_decoded_into_a_class_of_its_own() -> None:
    from asyncua.common.utils import Buffer
    from asyncua.ua.ua_binary import struct_from_binary, struct_to_binary

    from gateway.server.items import _DATA_CHANGE_FILTER

    sent = struct_to_binary(ua.MonitoringParameters(Filter=ua.DataChangeFilter()))
    found = struct_from_binary(ua.MonitoringParameters, Buffer(sent))
    assert isinstance(found.Filter, _DATA_CHANGE_FILTER)


def test_the_policies_we_offer_exist_and_no_weak_one_is_among_them() -> None:
    from gateway.server.offering import _SECURE

    for policy_type in _SECURE:
        policy, mode, _ = SECURITY_POLICY_TYPE_MAP[policy_type]
        assert mode != ua.MessageSecurityMode.None_
        assert policy.URI.rpartition("#")[2] in {
            "Basic256Sha256",
            "Aes128_Sha256_RsaOaep",
            "Aes256_Sha256_RsaPss",
        }
