# SPDX-License-Identifier: Apache-2.0
"""What is there of each image, without building anything."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

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
        definition = read(spec.folder)
        image = cached_image(spec, definition)
        distribution = f"{definition.distribution} {definition.suite}"
        if image is None:
            rows.append(Listed(spec.name, distribution, "absent", definition.key, 0, 0.0))
        else:
            rows.append(Listed(spec.name, distribution, "built", image.key, image.size, image.disk.stat().st_mtime))
    return rows
