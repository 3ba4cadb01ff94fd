#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs a command beside a system libvirtd, and a sshd on a loopback port, that nobody else sees: in mount and process namespaces of
# their own, with which both end. Run it as root through: unshare --mount --pid --fork --kill-child --mount-proc
#   libvirt_system.sh FOLDER SSHD PORT COMMAND...
# FOLDER/ssh is an ssh client that knows that sshd.
set -eu
folder=$1 sshd=$2 port=$3
shift 3
for place in /run/libvirt /var/lib/libvirt /var/cache/libvirt /var/log/libvirt /etc/libvirt /run/sshd; do
    mkdir -p "$folder/away$place" "$place"
    mount --bind "$folder/away$place" "$place"
done
cp /etc/passwd /etc/group "$folder/"
for name in libvirt-qemu sshd; do
    grep -q "^$name:" /etc/passwd || echo "$name:x:0:0::/nonexistent:/usr/sbin/nologin" >>"$folder/passwd"
done
for name in libvirt-qemu kvm sshd; do
    grep -q "^$name:" /etc/group || echo "$name:x:0:" >>"$folder/group"
done
mount --bind "$folder/passwd" /etc/passwd
mount --bind "$folder/group" /etc/group

# QEMU as the user who probes it, which takes away the trap of the capabilities that are never fresh.
cat >/etc/libvirt/qemu.conf <<END
user = "+0"
group = "+0"
security_driver = "none"
stdio_handler = "file"
cgroup_controllers = []
namespaces = []
END
printf 'auth_unix_rw = "none"\n' >/etc/libvirt/libvirtd.conf
libvirtd -d -f /etc/libvirt/libvirtd.conf -p "$folder/libvirtd.pid"

ssh-keygen -q -t ed25519 -N '' -f "$folder/host_key"
ssh-keygen -q -t ed25519 -N '' -f "$folder/client_key"
cp "$folder/client_key.pub" "$folder/authorized_keys"
echo "[127.0.0.1]:$port $(cut -d' ' -f1,2 "$folder/host_key.pub")" >"$folder/known_hosts"
LD_LIBRARY_PATH="$folder/sshd/usr/lib/x86_64-linux-gnu:$folder/sshd/lib/x86_64-linux-gnu" "$sshd" -f /dev/null -h "$folder/host_key" -p "$port" -E "$folder/sshd.log" -o ListenAddress=127.0.0.1 -o UsePAM=no -o StrictModes=no \
    -o "AuthorizedKeysFile=$folder/authorized_keys" -o PasswordAuthentication=no -o "PidFile=$folder/sshd.pid"
cat >"$folder/ssh" <<END
#!/bin/sh
exec ssh -F none -i $folder/client_key -o IdentitiesOnly=yes -o IdentityAgent=none -o UserKnownHostsFile=$folder/known_hosts "\$@"
END
chmod 755 "$folder/ssh"
status=0
"$@" || status=$?
exit "$status"
