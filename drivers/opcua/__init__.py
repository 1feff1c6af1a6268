"""OPC UA client: subscription or polled reads, writes, all current security policies."""

from drivers.opcua.driver import OpcUaDriver

driver = OpcUaDriver()

__all__ = ["driver"]
