# SPDX-License-Identifier: Apache-2.0
"""Root file systems for guests, made with mmdebstrap from a declarative definition and cached by its hash; or cloud images.

An image holds no kernel: a guest gets its kernel, initramfs and modules from ci.images.boot, so that a new
kernel does not make the image anew.
"""

from __future__ import annotations

from ci.images.build import build
from ci.images.listing import Listed, listing

__all__ = ["Listed", "build", "listing"]
