# SPDX-License-Identifier: Apache-2.0
"""Suites: many small cases on a mounted artifact in a guest, each observed, each under a deadline."""

from __future__ import annotations

from ci.validate.suite import run_suite

__all__ = ["run_suite"]
