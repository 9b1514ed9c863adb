"""``python -m loopback``."""

from loopback.server import main

main()
