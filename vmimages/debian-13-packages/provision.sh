#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The last touches, inside the new root filesystem.
set -eu
systemctl set-default multi-user.target
# Generators are a dozen processes at each boot that look for disks, containers and settings which a guest never has.
mkdir -p /etc/systemd/system-generators
for generator in /lib/systemd/system-generators/*; do
    ln -s /dev/null "/etc/systemd/system-generators/${generator##*/}"
done
# The initramfs mounts everything that is to be mounted.
rm -f /etc/fstab
# sshd must accept the configuration; the keys that are made for that are thrown away again: those of a guest come with
# the guest, and none may be shared through the image. Neither may the machine's identity.
mkdir -p /run/sshd
[ -e /etc/ssh/ssh_host_ed25519_key ] || ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key
sshd -t
rm -f /etc/ssh/ssh_host_*
rmdir /run/sshd
: >/etc/machine-id
# What packages share with others stays: a removal is compared with what was there before.
rm -rf /usr/share/locale /usr/share/info
rm -rf /var/cache/apt /var/lib/apt/lists /var/log/apt /var/log/dpkg.log /var/log/alternatives.log /etc/apt/apt.conf.d/99mmdebstrap
