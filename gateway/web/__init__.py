"""The interfaces of a running node: local socket now; REST, page and metrics beside it."""
