"""`python -m lambdabox` is the command `lambdabox`."""

from __future__ import annotations

import sys

from lambdabox.cli import main

if __name__ == "__main__":
    sys.exit(main())
