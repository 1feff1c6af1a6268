"""Replication: each node pulls what the other has written, and proves that it has it."""
