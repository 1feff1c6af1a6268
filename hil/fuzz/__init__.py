"""Malformed messages sent to the gateway by the ten thousand, and a judge beside them."""
