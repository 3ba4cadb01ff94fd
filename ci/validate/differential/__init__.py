# SPDX-License-Identifier: Apache-2.0
"""The suite differential: the same random operations on the product's mounts and on ext4 must have the same answers (T7)."""

from __future__ import annotations

from ci.validate.differential.suite import run

__all__ = ["run"]
