"""The journal: the append-only set of records, its store, its coverage, and reading it back."""
