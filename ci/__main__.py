# SPDX-License-Identifier: Apache-2.0
"""What `./inv` runs: `python ci/__main__.py TASK...`."""

from __future__ import annotations

import os
import sys

# The folder of this file stands first on the path and would shadow other modules with ci's names.
sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

from ci.setup import main  # noqa: E402

if __name__ == "__main__":
    main(sys.argv[1:])
