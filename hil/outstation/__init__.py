"""Emulated outstations: Modbus units on sockets and serial lines, and an OPC UA PLC."""
