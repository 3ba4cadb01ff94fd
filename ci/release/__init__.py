# SPDX-License-Identifier: Apache-2.0
"""Makes a release of what was built and tested, and checks one that somebody downloaded.

definition.py  packaging/packages.yaml: which packages there are
sources.py     tarballs of the sources, the same bytes for the same commit
needs.py       what a program needs at run time, as .deb and .rpm say it
package.py     the .deb and .rpm of one package, by nfpm
gate.py        why this tree may not be released
notes.py       what is new, and what was tested, where, with what result
papers.py      SHA256SUMS, the statement about all files, the signature
sigstore.py    who signed by sigstore
rpm.py         what an .rpm says and holds
check.py       whether a folder is the release that it says it is
managers.py    how apt and dnf install and remove packages
prove.py       packages in a clean guest, from clean to clean
"""
