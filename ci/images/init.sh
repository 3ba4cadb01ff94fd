#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The first process of a guest (busybox): from disks that are found by their serial numbers it puts together the root
# file system, and hands over to systemd. What fails is said on the console, and the machine is switched off at once, so
# that the host need not wait for a deadline.
#   vexci-root     the writable root file system, ext4
#   vexci-modules  the kernel's modules, ext4, read-only
#   vexci-seed     keys and identity of this one guest: the disk is a tar stream
export PATH=/bin
root=/newroot

fail() {
    echo "vexci-init: FAILED: $*"
    poweroff -f
    while :; do sleep 60; done  # the power goes off meanwhile; init must not end before, that would be a panic
}

disk() {  # serial -> device; disks may appear a moment after their driver was loaded
    tries=0
    while [ "$tries" -lt 30 ]; do
        for file in /sys/block/vd*/serial; do
            if [ -r "$file" ] && [ "$(cat "$file")" = "$1" ]; then
                name=${file#/sys/block/}
                echo "/dev/${name%/serial}"
                return 0
            fi
        done
        tries=$((tries + 1))
        usleep 50000
    done
    return 1
}

has_init() {
    [ -x $root/sbin/init ] || [ -L $root/sbin/init ]
}

mount_modules() {  # device, folder
    mkdir -p "$2" || fail "cannot make the folder of the modules"
    mount -t ext4 -o ro,noload "$1" "$2" || fail "cannot mount the modules from $1"
    [ -r "$2/modules.dep" ] || fail "the disk vexci-modules holds no modules.dep"
}

own_root() {  # the project's own image: the disk is the file system, and the seed is unpacked over it
    mount -t ext4 -o rw,noatime "$1" $root || fail "cannot mount the root file system from $1"
    has_init || fail "the root file system has no /sbin/init"
    mount_modules "$2" "$root/usr/lib/modules/$release"
    device=$(disk vexci-seed) || fail "there is no disk with the serial vexci-seed"
    tar -x -f "$device" -C $root || fail "cannot unpack the seed from $device"
    ip link set lo up && ip addr add 10.0.2.15/24 dev eth0 && ip link set eth0 up || fail "there is no network card eth0"
}

cloud_root() {  # a cloud image: the root is that partition (or the disk itself) that holds an init; cloud-init does the rest
    mount_modules "$2" "/lib/modules/$release"
    find_root "$1" || fail "no partition of $1 is a file system (ext4, xfs, btrfs) with /sbin/init"
    echo "vexci-init: the root is $found"
    mkdir -p "$root/usr/lib/modules/$release" || fail "cannot make the folder of the modules"
    mount --move "/lib/modules/$release" "$root/usr/lib/modules/$release" || fail "cannot move the modules"
}

find_root() {  # disk; the first that fits is mounted, and its name is in $found
    for type in ext4 xfs btrfs; do
        modprobe $type || continue  # this kernel has it not
        options=noatime
        # Distributions that put their root into a subvolume call it so.
        [ $type != btrfs ] || options="noatime,subvol=root noatime,subvol=@ noatime"
        for found in "$1"*; do
            for option in $options; do
                mount -t $type -o "rw,$option" "$found" $root 2>/dev/null || continue
                has_init && return 0
                umount $root || fail "cannot unmount $found"
            done
        done
    done
    return 1
}

mount -t devtmpfs dev /dev || fail "cannot mount /dev"
mount -t proc proc /proc || fail "cannot mount /proc"
mount -t sysfs sysfs /sys || fail "cannot mount /sys"
echo "vexci-init: started"
release=$(uname -r)
[ "$release" = "$(cat /release)" ] || fail "these modules are for kernel $(cat /release), but $release runs"

while read -r module; do
    insmod "/modules/$module" || fail "cannot load the module $module"
done </modules/order

# Nodes of drivers that are loaded when they are first opened.
while read -r node type major minor; do
    mkdir -p "/dev/${node%/*}"
    [ -e "/dev/$node" ] || mknod "/dev/$node" "$type" "$major" "$minor" || fail "cannot make /dev/$node"
done </nodes
[ ! -e /dev/fuse ] || chmod 666 /dev/fuse
mount -t debugfs debugfs /sys/kernel/debug || echo "vexci-init: this kernel has no debugfs"
mount -t tracefs tracefs /sys/kernel/tracing || echo "vexci-init: this kernel has no tracefs"

device=$(disk vexci-root) || fail "there is no disk with the serial vexci-root"
modules=$(disk vexci-modules) || fail "there is no disk with the serial vexci-modules"
case " $(cat /proc/cmdline) " in
*" vexci.cloud "*) cloud_root "$device" "$modules" ;;
*) own_root "$device" "$modules" ;;
esac

for folder in dev proc sys; do
    mount --move /$folder $root/$folder || fail "cannot move /$folder"
done
echo "vexci-init: switching root"
exec switch_root $root /sbin/init
fail "cannot hand over to /sbin/init"
