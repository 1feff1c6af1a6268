"""Northbound: the journal, handed on by position to MQTT brokers and databases."""
