"""Owns `python -m nxtrack`."""

import sys

from nxtrack.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
