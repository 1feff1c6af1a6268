"""The OPC UA client driver: what configuration and the collector see of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from drivers.opcua.settings import (
    OpcUaDevice,
    OpcUaPoint,
    files,
    published_type,
    review,
    subscribed,
)
from gateway.driver import DriverContext, LineSpec, Schema

if TYPE_CHECKING:
    from drivers.opcua.line import OpcUaLine

SCHEMA: Final = Schema(
    device=OpcUaDevice,
    point=OpcUaPoint,
    line=None,
    profile=None,
    published_type=published_type,
    subscribed=subscribed,
    review=review,
    files=files,
)


class OpcUaDriver:
    """Fulfils gateway.driver.Driver; each device is a line of its own."""

    @property
    def name(self) -> str:
        return "opcua"

    @property
    def schema(self) -> Schema:
        return SCHEMA

    def open_line(self, line: LineSpec, context: DriverContext) -> OpcUaLine:
        """A line ready to be scanned or listened to; it connects when first asked."""
        # Loading the OPC UA library takes half a second, which `hotpair check` need not spend.
        from drivers.opcua.line import OpcUaLine

        return OpcUaLine(line, context)
