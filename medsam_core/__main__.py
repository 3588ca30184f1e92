"""`python -m medsam_core` is `medsam-core`."""

import sys

from medsam_core.cli import main

if __name__ == "__main__":
    sys.exit(main())
