# Lists what kube-proxy needs of this Debian beside itself, relative to the root:
# iptables, conntrack, and the libraries that they load.
set -eu

programs=$(ls /usr/sbin/xtables-*-multi /usr/sbin/conntrack)
libraries=$(ldd $programs /usr/lib/*/xtables/*.so | sed -n 's|^[^/]*\(/[^ ]*\) (0x.*|\1|p' | sort -u)

# The links of the root, as they are; then each name with its directories
# resolved, and what it points to.
printf '%s\n' bin lib lib64 sbin
{
	for f in $programs $libraries /usr/lib/*/xtables/*.so /usr/sbin/iptables* /usr/sbin/ip6tables* /etc/alternatives/ip*tables*; do
		printf '%s\n' "$(realpath "$(dirname "$f")")/$(basename "$f")"
		realpath "$f"
	done
	printf '%s\n' /etc/ethertypes /etc/protocols /etc/services
} | sort -u | while read -r f; do
	if [ -e "$f" ]; then printf '%s\n' "${f#/}"; fi
done
