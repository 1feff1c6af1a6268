"""The OPC UA server of the gateway."""
