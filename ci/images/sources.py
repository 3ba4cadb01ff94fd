# SPDX-License-Identifier: Apache-2.0
"""Where an image's packages come from: the machine's own sources if it runs that distribution, else mmdebstrap's default."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ci import process
from ci.errors import UsageError

_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_FORMAT = "$(ORIGIN)|$(CODENAME)|$(REPO_URI)|$(RELEASE)|$(COMPONENT)"


def mirror_lines(suite: str) -> list[str]:
    """Lines of sources.list for a suite, its updates and its security fixes; none where the machine has no such source."""
    told = process.output(["apt-get", "indextargets", "--format", _FORMAT, "Created-By: Packages"])
    return parse_targets(told.splitlines(), suite)


def parse_targets(rows: Sequence[str], suite: str) -> list[str]:
    """The lines for a suite among rows of `apt-get indextargets`; third parties' sources are left out."""
    wanted = (suite, f"{suite}-updates", f"{suite}-security")
    components: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        origin, codename, uri, release, component = row.split("|")
        if origin == "Debian" and codename in wanted:
            known = components.setdefault((uri, release), [])
            if component not in known:
                known.append(component)
    if not any(release == suite or release.endswith("stable") for _, release in components):
        return []  # without the suite itself the rest is of no use
    return [f"deb {uri} {release} {' '.join(known)}" for (uri, release), known in components.items()]


def keyring_options() -> list[str]:
    """The keys that Debian's archive is verified with; UsageError where the machine has none."""
    if not _KEYRING.is_file():
        raise UsageError(f"Debian's archive keys are not installed ({_KEYRING})", hint="apt-get install debian-archive-keyring")
    return [f"--keyring={_KEYRING}"]
