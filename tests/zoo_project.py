# SPDX-License-Identifier: Apache-2.0
"""A small project whose product is a module of the zoo, for tests that drive the tool on it."""

from __future__ import annotations

from tests import tool

_MANIFEST = f"""\
version: 1
project: small
artifacts:
  small:
    builder: kbuild
    folder: kernel
    module: zoo_good
    license: GPL
    kernels: [debian-6.1]
    not_compiled: [zoofs.c]
    filesystem: zoo_good
    mount: [mount, -t, zoo_good, zoo_good, "{{mountpoint}}"]
kernels:
  debian-6.1: {{provider: apt, pattern: 6.1-cloud}}
images:
  debian-12: {{folder: {tool.ROOT}/vmimages/debian-12}}
  debian-12-build: {{folder: {tool.ROOT}/vmimages/debian-12-build}}
machines:
  default: {{image: debian-12, kernel: debian-6.1, memory: 512}}
  builder: {{image: debian-12-build, kernel: debian-6.1}}
"""


def manifest(suites: str) -> str:
    """The manifest with these lines below `suites:`."""
    return f"{_MANIFEST}suites:\n{suites}"
