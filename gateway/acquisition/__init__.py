"""Acquisition: what is due, what changed, what may be claimed; and the collector that asks."""
