# Written by the lab. Makes a machine a node at its first boot: installs Kubernetes and joins
# the cluster. A boot in the middle of it begins it again.
set -eu
[ ! -e {{.Joined}} ] || exit 0
{{.Installation -}}
if [ -e /etc/kubernetes/bootstrap-kubelet.conf ] || [ -e /etc/kubernetes/kubelet.conf ]; then
	kubeadm reset --force
fi
kubeadm join --config /etc/lab/kubeadm.yaml
rm -f /etc/lab/kubeadm.yaml # there is a token in it
touch {{.Joined}}
