"""``python -m evolteacher`` is the same as ``evolteacher``."""

import sys

from evolteacher.cli import main

sys.exit(main())
