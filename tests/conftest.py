"""What holds for all tests."""

from hypothesis import settings

# No test asserts a time: a busy machine would fail it.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
