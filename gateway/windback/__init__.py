"""Windback: the gaps of polling are filled from the devices' own logs."""
