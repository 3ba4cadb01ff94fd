# SPDX-License-Identifier: Apache-2.0
"""Runs inside a guest: the standard library only, Python 3.10 or later, no import of anything else of ci."""
