"""What holds for all tests."""

import os

from hypothesis import settings

# The machines that run these tests are shared: an example that took long says nothing about the code.
settings.register_profile("shared-machine", deadline=None)
settings.load_profile("shared-machine")

# A terminal's width, which pytest-xdist hands to its workers, breaks the lines that commands print into a pipe.
os.environ.pop("COLUMNS", None)
