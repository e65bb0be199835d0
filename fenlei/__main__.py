"""``python -m fenlei`` is the command line."""

import sys

from fenlei.cli import main

sys.exit(main())
