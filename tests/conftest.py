"""What holds for all tests."""

from hypothesis import settings

# The machines that run these tests are shared: an example that took long says nothing about the code.
settings.register_profile("shared-machine", deadline=None)
settings.load_profile("shared-machine")
