# Makes a machine of a fresh Debian, from the inside.
set -eu

useradd --create-home --shell /bin/bash admin
echo 'admin ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/admin
chmod 440 /etc/sudoers.d/admin

cat >/etc/ssh/sshd_config.d/lab.conf <<'EOF'
PasswordAuthentication no
AuthorizedKeysFile /etc/ssh/lab_authorized_keys
UseDNS no
# Many log in at once while machines come up.
MaxStartups 100
EOF
rm -f /etc/ssh/ssh_host_*

# There is no network but the lab's.
rm -f /etc/apt/sources.list
apt-get clean
rm -rf /var/lib/apt/lists/*
echo 'Acquire::Languages "none";' >/etc/apt/apt.conf.d/90lab
echo 'force-unsafe-io' >/etc/dpkg/dpkg.cfg.d/lab

# Only the balancer starts its server, and a machine's id is its own.
systemctl disable haproxy.service
rm -f /etc/machine-id /var/lib/dbus/machine-id

# What a container has no part in.
systemctl mask systemd-udevd.service systemd-udevd-kernel.socket systemd-udevd-control.socket systemd-modules-load.service \
	sys-kernel-debug.mount sys-kernel-tracing.mount sys-kernel-config.mount dev-hugepages.mount dev-mqueue.mount \
	console-getty.service getty.target systemd-timesyncd.service apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer
