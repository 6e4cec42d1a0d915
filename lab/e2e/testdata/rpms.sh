# Makes a machine of rpm's with Kubernetes 1.36.3 installed and held, and repositories of two
# minors laid out as the real ones are. The packages are small: programs that say their version.
set -eu

cat >/usr/local/bin/package <<'END'
#!/bin/sh
# package NAME VERSION DIRECTORY [LINE...]: makes a package, with lines of its description.
set -eu
name=$1 version=$2 to=$3
shift 3
spec=$(mktemp)
{
	printf 'Name: %s\nVersion: %s\nRelease: 150500.1.1\nSummary: %s\nLicense: Apache-2.0\nBuildArch: noarch\nAutoReqProv: no\n' "$name" "$version" "$name"
	for line in "$@"; do printf '%s\n' "$line"; done
	printf '%%description\n%s\n%%install\nmkdir -p %%{buildroot}/usr/bin\n' "$name"
	printf "printf '#!/bin/sh\\\\necho Kubernetes v%s\\\\n' >%%{buildroot}/usr/bin/%s\nchmod 755 %%{buildroot}/usr/bin/%s\n" "$version" "$name" "$name"
	if [ "$name" = kubelet ]; then
		printf '%%post\nif [ -e /run/hang ]; then touch /run/hanging; fi\nwhile [ -e /run/hang ]; do sleep 0.05; done\necho kubelet %s >/var/lib/kubelet-scripts\n' "$version"
	fi
	printf '%%files\n/usr/bin/%s\n' "$name"
} >"$spec"
rpmbuild --quiet --define "_rpmdir $to" --define "_topdir $(mktemp -d)" --define '_build_id_links none' -bb "$spec"
END

cat >/usr/local/bin/publish <<'END'
#!/bin/sh
# publish MINOR VERSION: puts a version of Kubernetes into the repository of a minor.
set -eu
dir=/srv/core:/stable:/v1.$1/rpm
mkdir -p "$dir"
tools=1.6.0
if [ "$1" = 37 ]; then tools=1.7.0; fi
if [ ! -d "$dir/noarch" ]; then package kubernetes-cni $tools "$dir"; fi
package kubelet "$2" "$dir" "Requires: kubernetes-cni >= $tools"
package kubeadm "$2" "$dir"
package kubectl "$2" "$dir"
createrepo_c --quiet "$dir"
END
chmod 755 /usr/local/bin/package /usr/local/bin/publish

publish 36 1.36.2
publish 36 1.36.3
publish 37 1.37.1
# rpm knows nothing of the machine's shell, which scripts of packages want.
mkdir -p /srv/base
package machine-base 1 /srv/base 'Provides: /bin/sh'
createrepo_c --quiet /srv/base
systemd-run --quiet --unit=repositories python3 -m http.server 80 --bind 127.0.0.1 --directory /srv
until python3 -c 'import urllib.request; urllib.request.urlopen("http://127.0.0.1/")' 2>/dev/null; do sleep 0.1; done

# As RHEL 9 has it; and without a plugin of Debian's that keeps a repository of its own.
printf '[main]\ngpgcheck=1\ninstallonly_limit=3\nclean_requirements_on_remove=True\nbest=True\nskip_if_unavailable=False\n' >/etc/dnf/dnf.conf
printf '[main]\nenabled = false\n' >/etc/dnf/plugins/local.conf
mkdir -p /etc/yum.repos.d
printf '[base]\nname=base\nbaseurl=http://127.0.0.1/base/\ngpgcheck=0\n' >/etc/yum.repos.d/base.repo
cat >/etc/yum.repos.d/kubernetes.repo <<'END'
[kubernetes]
name=Kubernetes
baseurl=http://127.0.0.1/core:/stable:/v1.36/rpm/
enabled=1
gpgcheck=0
exclude=kubelet kubeadm kubectl cri-tools kubernetes-cni
END
dnf --quiet --assumeyes install machine-base
dnf --quiet --assumeyes --disableexcludes=kubernetes install kubeadm-1.36.3 kubelet-1.36.3 kubectl-1.36.3
dnf --quiet versionlock add kubeadm kubelet kubectl kubernetes-cni
