"""Modbus: `driver` is what the gateway loads."""

from drivers.modbus.driver import driver

__all__ = ["driver"]
