#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
set -eu
# One database of rpm for everybody, as rpm's own distributions have it; Debian's has one for each user.
mkdir -p /etc/rpm
echo '%_dbpath /var/lib/rpm' >/etc/rpm/macros
# What Debian's packages provide, said to rpm by a package without files: the libraries as rpm's own generator reads them in the files
# themselves, and the packages that are installed here by the names that the .rpm ask for.
provides() {
    find /usr/lib/x86_64-linux-gnu -name 'lib*.so.*' -type f | /usr/lib/rpm/elfdeps --provides
    find /usr/lib/x86_64-linux-gnu -name 'ld-linux*.so.*' -type f | /usr/lib/rpm/elfdeps --provides
    echo /bin/sh
    for pair in fuse3=fuse3 dkms=dkms make=make gcc=gcc-12 kernel-devel=linux-compiler-gcc-12-x86; do
        dpkg -s "${pair#*=}" >/dev/null
        echo "${pair%%=*}"
    done
}
provides | sort -u >/tmp/provides
{
    printf 'Name: debian-provides\nVersion: 12\nRelease: 1\nSummary: What the packages of Debian provide\nLicense: Apache-2.0\nBuildArch: noarch\n'
    sed 's/^/Provides: /' /tmp/provides
    printf '%%description\nNothing but names.\n%%files\n'
} >/tmp/debian-provides.spec
rpmbuild --quiet --define '_topdir /tmp/rpmbuild' -bb /tmp/debian-provides.spec
rpm --install /tmp/rpmbuild/RPMS/noarch/debian-provides-12-1.noarch.rpm
rm -rf /tmp/rpmbuild /tmp/provides /tmp/debian-provides.spec
