"""How devices show their logs to a master: one module a family of methods, all of them pure."""
