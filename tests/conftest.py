"""What holds for all tests."""

import gc
import os

from hypothesis import settings

# No test asserts a time: a busy machine would fail it.
settings.register_profile("untimed", deadline=None)
# What may land is decided by the code, not by luck; on a desk and in `make campaign` chance goes on
# searching, and what it finds becomes an @example.
settings.register_profile("landing", deadline=None, derandomize=True)
settings.load_profile("landing" if os.environ.get("HOTPAIR_CI") else "untimed")


def pytest_collection_finish() -> None:
    """What the modules left stays: looked at by each collection, it took a sixth of all time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(5_000, 20, 20)
