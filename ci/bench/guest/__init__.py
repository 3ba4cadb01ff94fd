# SPDX-License-Identifier: Apache-2.0
"""What runs inside the guest. Standard library and ci.procfs only; ci/bench/payload.py packs it into one file."""
