"""`python -m needle` is the command `needle`."""

import sys

from needle.cli import main

sys.exit(main())
