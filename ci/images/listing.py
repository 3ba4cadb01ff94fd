# SPDX-License-Identifier: Apache-2.0
"""What is there of each image, without building anything."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ci.images import cloud
from ci.images.build import cached_image
from ci.images.definition import read
from ci.manifest import ImageSpec


@dataclass(frozen=True)
class Listed:
    """One line of a list of images. `state` is built or absent; `size` is in bytes on disk, `made` in epoch seconds."""

    name: str
    distribution: str
    state: str
    key: str
    size: int
    made: float


def listing(specs: Iterable[ImageSpec]) -> list[Listed]:
    """One row an image; UsageError where a definition is wrong."""
    rows = []
    for spec in specs:
        if spec.cloud is not None:
            image, key, distribution = cloud.cached_image(spec.name, spec.cloud), cloud.key(spec.name, spec.cloud), "cloud image"
        else:
            assert spec.folder is not None, "an image has a folder or is a cloud image (ci/config.py)"
            definition = read(spec.folder)
            image, key = cached_image(spec, definition), definition.key
            distribution = f"{definition.distribution} {definition.suite}"
        if image is None:
            rows.append(Listed(spec.name, distribution, "absent", key, 0, 0.0))
        else:
            rows.append(Listed(spec.name, image.distribution, "built", image.key, image.size, image.disk.stat().st_mtime))
    return rows
