# SPDX-License-Identifier: Apache-2.0
"""What programs need at run time, read from the programs themselves: dpkg-shlibdeps for a .deb, the versions of symbols for an .rpm."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerNeedSection

from ci import process
from ci.errors import InfrastructureError

_CONTROL = "Source: {0}\n\nPackage: {0}\nArchitecture: any\n"


def deb(package: str, programs: Sequence[Path]) -> list[str]:
    """Dependencies as `libc6 (>= 2.34)`, from the symbol files of this machine's packages."""
    tool = process.find_program("dpkg-shlibdeps", hint="apt-get install dpkg-dev")
    with tempfile.TemporaryDirectory(prefix="vexci-shlibdeps-") as folder:
        control = Path(folder, "debian/control")
        control.parent.mkdir()
        control.write_text(_CONTROL.format(package))
        words = [tool, "-O", *(f"-e{path.absolute()}" for path in programs)]
        text = process.output(words, deadline=120, cwd=Path(folder))
    line = next((row for row in text.splitlines() if row.startswith("shlibs:Depends=")), None)
    if line is None:
        raise InfrastructureError(f"dpkg-shlibdeps did not say what {package} needs: {text.strip()[:200]}")
    return [word.strip() for word in line.partition("=")[2].split(",") if word.strip()]


def rpm(programs: Sequence[Path]) -> list[str]:
    """Dependencies as rpm's own generator writes them for 64-bit programs: `libc.so.6(GLIBC_2.34)(64bit)`."""
    found: set[str] = set()
    for path in programs:
        with open(path, "rb") as file:
            elf = ELFFile(file)
            dynamic = elf.get_section_by_name(".dynamic")
            found.update(f"{tag.needed}()(64bit)" for tag in dynamic.iter_tags() if tag.entry.d_tag == "DT_NEEDED")
            for section in elf.iter_sections():
                if isinstance(section, GNUVerNeedSection):
                    for library, versions in section.iter_versions():
                        found.update(f"{library.name}({version.name})(64bit)" for version in versions)
    return sorted(found)
