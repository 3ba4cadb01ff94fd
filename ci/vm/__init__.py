# SPDX-License-Identifier: Apache-2.0
"""Guests: QEMU machines that libvirt starts, reached by SSH on 127.0.0.1. Importing this registers how leftovers end.

`ci.vm.guest` starts and ends them, `ci.vm.machine.Machine` is one that answers, `ci.vm.registry` lists them.
"""

from __future__ import annotations

from ci.vm import registry as _registry  # noqa: F401  (registers the release of leftover guests)
