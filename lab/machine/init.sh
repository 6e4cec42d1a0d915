#!/bin/sh
# Process 1 of a machine until systemd takes over: makes of a container what a
# machine is at the beginning of a boot.
set -eu

# The container engine mounts control groups and /sys for reading; systemd and
# the kubelet make groups. On cgroup v1 each controller is a mount of its own.
for mount in /sys /sys/fs/cgroup /sys/fs/cgroup/*; do
	if mountpoint -q "$mount"; then mount -o remount,bind,rw "$mount" || true; fi
done

# Kubelets hand mounts on to containers.
mount --make-rshared /

# The kubelet reads the kernel's log for messages of the out-of-memory killer.
[ -e /dev/kmsg ] || mknod /dev/kmsg c 1 11

# Each boot has its own id. The kernel's is that of the machine underneath, and
# does not change when this one boots; systemd-nspawn does the same for its containers.
cat /proc/sys/kernel/random/uuid >/run/boot-id
chmod 444 /run/boot-id
mount --bind /run/boot-id /proc/sys/kernel/random/boot_id

exec /sbin/init
