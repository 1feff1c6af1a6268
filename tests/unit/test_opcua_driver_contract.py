"""The private names of the OPC UA library that the client driver leans on."""

from __future__ import annotations

import inspect

import asyncua
from asyncua import ua
from asyncua.client.ua_client import UaClient, UASocketProtocol
from asyncua.client.ua_session import UaSession

from drivers.opcua import session_history
from drivers.opcua.log import ops
from drivers.opcua.session import Session
from drivers.opcua.values import Builtin


def test_the_client_sends_every_request_through_one_door() -> None:
    for request in (UaSession.read, UaSession.history_read):
        assert "self._send_request(request)" in inspect.getsource(request)
    assert list(inspect.signature(UaClient._send_request).parameters) == [
        "self",
        "request",
        "timeout",
        "message_type",
    ]
    assert "pre_request_hook" in inspect.getsource(UASocketProtocol.send_request)


def test_the_library_publishes_by_itself_only_through_the_hook_that_we_close() -> None:
    source = inspect.getsource(UaSession)
    assert source.count("create_task(self._publish_loop())") == 1
    assert "create_task" in inspect.getsource(UaSession.ensure_publish_loop)


def test_the_names_that_our_subclasses_use_are_there() -> None:
    client = asyncua.Client("opc.tcp://127.0.0.1:4840")
    assert client.uaclient._timeout > 0
    protocol = UASocketProtocol()
    assert protocol._connection._limits.max_message_size == 0
    assert callable(client.uaclient._set_state)
    assert {"_username", "_password"} <= vars(client).keys()
    assert Session.services is not None


def test_our_numbers_of_built_in_types_are_those_of_the_library() -> None:
    assert {b.value: b.name for b in Builtin} == {
        kind.value: kind.name.upper() for kind in ua.VariantType
    }


def test_our_status_codes_of_history_are_those_of_the_library() -> None:
    codes = {name.upper(): code for name, code in vars(ua.StatusCodes).items() if name[0] != "_"}
    ours = {name: code for name, code in vars(ops).items() if name.startswith("BAD_")}
    assert len(ours) == 8
    for name, code in ours.items():
        assert codes[name.replace("_", "")] == code, name
    too_much = (
        "ENCODINGLIMITSEXCEEDED",
        "TOOMANYOPERATIONS",
        "REQUESTTOOLARGE",
        "RESPONSETOOLARGE",
    )
    assert {codes[f"BAD{name}"] for name in too_much} | {ops.BAD_TIMEOUT} == ops.TOO_MUCH


def test_an_unspecified_time_is_zero_on_the_wire() -> None:
    assert ua.datetime_to_win_epoch(ua.get_win_epoch()) == 0
    assert ua.get_win_epoch() == session_history._UNSPECIFIED
