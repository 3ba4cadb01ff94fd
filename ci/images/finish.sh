#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Run by mmdebstrap, as root of its namespace but outside of the new root file system $1, when all packages are
# installed. Applies what the definition says, and puts the disk into the folder $2. Where there is no $2 (because a
# user namespace cannot reach it), packs the disk as a sparse tar into /vexci.tar of the root file system.
set -eu
root=$1
out=${2:-$root.out}
work=$root/vexci
mkdir -p "$out"

say() { echo "vexci: $*"; }

wrong() {  # what the definition must answer for: build.py looks for this mark
    say "WRONG: $*"
    exit 1
}

if [ -d "$work/files" ]; then
    say "copying files"
    tar -C "$work/files" -c . | tar -C "$root" --no-overwrite-dir --no-same-owner -x
fi
while read -r unit; do
    say "masking $unit"
    ln -sfn /dev/null "$root/etc/systemd/system/$unit"
done <"$work/mask"
while read -r unit; do
    say "enabling $unit"
    chroot "$root" systemctl enable "$unit" || wrong "enable: the unit '$unit' cannot be enabled"
done <"$work/enable"
while read -r script; do
    say "running $script"
    chroot "$root" /bin/sh "/vexci/scripts/$script" || wrong "scripts: '$script' ended with exit $?"
done <"$work/scripts.list"

chroot "$root" dpkg-query -W -f '${Package} ${Version}\n' >"$out/packages"
size=$(cat "$work/size")
rm -rf "$work"

# A view of the root file system without what is mounted on it now (/proc, /sys, /dev).
say "writing the disk"
mkdir "$root.view"
mount --bind "$root" "$root.view"
truncate -s "${size}M" "$out/root.ext4"
# Everything is initialised now, so that the guest's kernel need not do it in the background while something is measured.
status=0
mkfs.ext4 -q -F -L vexci-root -E lazy_itable_init=0,lazy_journal_init=0,nodiscard -d "$root.view" "$out/root.ext4" || status=$?
umount "$root.view"
rmdir "$root.view"
if [ "$#" -lt 2 ]; then
    [ "$status" -ne 0 ] || tar -C "$out" --sparse -cf "$root/vexci.tar" packages root.ext4 || status=$?
    rm -rf "$out"
fi
exit "$status"
