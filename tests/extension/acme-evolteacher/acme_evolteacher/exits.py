"""A script that was published as a plugin."""

import sys

sys.exit("usage: exits.py FILE")
