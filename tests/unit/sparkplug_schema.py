"""The schema of Sparkplug B payloads for Google's own protobuf parser.

Transcribed from Sparkplug 3.0.0, section 6.4.1; what the gateway never sends (data sets,
templates, metadata) is left out, and would be found as unknown fields.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_TYPES = descriptor_pb2.FieldDescriptorProto
_PACKAGE = "hotpair.tests.sparkplug"


def _fields(message: Any, oneof: str, *fields: tuple[str, int, str]) -> None:
    """Add fields: (name, number, type); from `oneof` on they are the choices of `value`."""
    inside = False
    for name, number, kind in fields:
        inside = inside or name == oneof
        field = message.field.add(name=name, number=number, label=_TYPES.LABEL_OPTIONAL)
        if kind.startswith("repeated "):
            field.label, kind = _TYPES.LABEL_REPEATED, kind.removeprefix("repeated ")
        if kind[0].isupper():
            field.type, field.type_name = _TYPES.TYPE_MESSAGE, f".{_PACKAGE}.{kind}"
        else:
            field.type = getattr(_TYPES, f"TYPE_{kind.upper()}")
        if inside:
            field.oneof_index = 0
    if oneof:
        message.oneof_decl.add(name="value")


def _payload() -> Any:
    file = descriptor_pb2.FileDescriptorProto(
        name="hotpair_tests_sparkplug.proto", package=_PACKAGE, syntax="proto2"
    )
    _fields(
        file.message_type.add(name="PropertyValue"),
        "int_value",
        ("type", 1, "uint32"),
        ("is_null", 2, "bool"),
        ("int_value", 3, "uint32"),
        ("long_value", 4, "uint64"),
        ("float_value", 5, "float"),
        ("double_value", 6, "double"),
        ("boolean_value", 7, "bool"),
        ("string_value", 8, "string"),
    )
    _fields(
        file.message_type.add(name="PropertySet"),
        "",
        ("keys", 1, "repeated string"),
        ("values", 2, "repeated PropertyValue"),
    )
    _fields(
        file.message_type.add(name="Metric"),
        "int_value",
        ("name", 1, "string"),
        ("alias", 2, "uint64"),
        ("timestamp", 3, "uint64"),
        ("datatype", 4, "uint32"),
        ("is_historical", 5, "bool"),
        ("is_transient", 6, "bool"),
        ("is_null", 7, "bool"),
        ("properties", 9, "PropertySet"),
        ("int_value", 10, "uint32"),
        ("long_value", 11, "uint64"),
        ("float_value", 12, "float"),
        ("double_value", 13, "double"),
        ("boolean_value", 14, "bool"),
        ("string_value", 15, "string"),
        ("bytes_value", 16, "bytes"),
    )
    _fields(
        file.message_type.add(name="Payload"),
        "",
        ("timestamp", 1, "uint64"),
        ("metrics", 2, "repeated Metric"),
        ("seq", 3, "uint64"),
        ("uuid", 4, "string"),
        ("body", 5, "bytes"),
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.Payload"))


Payload: Any = _payload()


def parse(data: bytes) -> Any:
    """A payload as Google's parser reads it. Raises google.protobuf.message.DecodeError."""
    found = Payload()
    found.ParseFromString(data)
    return found


def properties(metric: Any) -> dict[str, int]:
    """The whole-number properties of a metric."""
    names, values = metric.properties.keys, metric.properties.values
    return {name: value.int_value for name, value in zip(names, values, strict=True)}


def value_of(metric: Any) -> Any:
    """A metric's value as the wire has it; None when it has none."""
    which = metric.WhichOneof("value")
    return None if which is None else getattr(metric, which)
