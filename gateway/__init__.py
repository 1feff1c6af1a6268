"""Hotpair: an industrial protocol gateway that runs as a hot-standby pair."""

__version__ = "0.1.0"
