# SPDX-License-Identifier: Apache-2.0
"""The seed of a guest from a cloud image: an ISO 9660 disk with the label `cidata`, which cloud-init's data source NoCloud reads.

Format: docs.cloud-init.io, "NoCloud" (meta-data, user-data, network-config) and "Networking config Version 2".
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

from ci.errors import InfrastructureError
from ci.vm.channel import Expired, Lost
from ci.vm.connect import USER
from ci.vm.keys import Keys
from ci.vm.link import Link

LABEL = "cidata"
# The address that QEMU's user-mode network forwards to; the guest needs no DHCP client for it.
ADDRESS = "10.0.2.15/24"
SOURCE = "DataSourceNoCloud"
# A first boot with cloud-init takes this many times as long as one of the project's own image.
PATIENCE = 4.0
# `cloud-init status`: done, and done with warnings (since 23.4).
_DONE_CODES = (0, 2)


def documents(keys: Keys, *, hostname: str, instance: str) -> dict[str, str]:
    """File name -> content. `instance` is another for each guest, so that cloud-init begins anew. JSON is YAML, too."""
    user: dict[str, Any] = {
        "users": [{"name": USER, "lock_passwd": True, "ssh_authorized_keys": [keys.client_public.read_text().strip()]}],
        "disable_root": False,
        "ssh_pwauth": False,
        "ssh_deletekeys": True,
        "ssh_keys": {"ed25519_private": keys.host.read_text(), "ed25519_public": keys.host_public.read_text().strip()},
        "ssh": {"emit_keys_to_console": False},
        "locale": False,  # an emulated guest would generate it for a long time
        "package_update": False,
        "package_upgrade": False,
    }
    network = {"version": 2, "ethernets": {"eth0": {"dhcp4": False, "dhcp6": False, "addresses": [ADDRESS]}}}
    return {
        "meta-data": json.dumps({"instance-id": instance, "local-hostname": hostname}) + "\n",
        "user-data": "#cloud-config\n" + json.dumps(user, indent=1) + "\n",
        "network-config": json.dumps(network) + "\n",
    }


def write(path: Path, keys: Keys, *, hostname: str, instance: str) -> None:
    """Write the disk. It holds a private key, so that nobody else may read it."""
    import pycdlib

    iso = pycdlib.PyCdlib()
    iso.new(interchange_level=3, vol_ident=LABEL, joliet=3, rock_ridge="1.09")
    for number, (name, text) in enumerate(documents(keys, hostname=hostname, instance=instance).items()):
        data = text.encode()
        iso.add_fp(io.BytesIO(data), len(data), f"/FILE{number}.;1", rr_name=name, joliet_path=f"/{name}")
    path.touch(mode=0o600)
    path.chmod(0o600)
    with open(path, "wb") as file:
        iso.write_fp(file)
    iso.close()


def finished(link: Link, name: str, *, deadline: float) -> None:
    """Wait until cloud-init has ended in a guest that answers already. Raises InfrastructureError where it failed, did not find its
    seed, or is still busy after `deadline` seconds."""
    try:
        result = link.command(["cloud-init", "status", "--wait", "--long"]).wait(deadline=deadline, silence=None, watch=lambda: None)
    except (Expired, Lost) as error:
        raise InfrastructureError(f"cloud-init did not end in the guest {name}: {error}") from error
    words = " / ".join(line.strip() for line in (result.stdout or result.stderr).split("\n") if line.strip(" ."))
    if result.returncode not in _DONE_CODES:
        raise InfrastructureError(
            f"cloud-init failed in the guest {name}: exit {result.returncode}: {words}", hint="/var/log/cloud-init.log in it"
        )
    if SOURCE not in result.stdout:
        raise InfrastructureError(f"cloud-init in the guest {name} did not take its seed ({SOURCE}): {words}")
