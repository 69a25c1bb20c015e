"""Property tests give the same verdict on every machine and every day."""

from hypothesis import settings

settings.register_profile("steady", derandomize=True, max_examples=200, deadline=None, database=None)
settings.load_profile("steady")
