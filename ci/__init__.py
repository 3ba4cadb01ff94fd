# SPDX-License-Identifier: Apache-2.0
"""vexci: builds, verifies, boots, deploys, validates, benchmarks and reports a filesystem's artifacts."""

__version__ = "0.1.0"
