#!/usr/bin/env bash
# The upgrade of a lab's cluster by hand: the documented steps, one machine after
# the other, as an administrator types them who knows what comes next.
# https://kubernetes.io/docs/tasks/administer-cluster/kubeadm/kubeadm-upgrade/
#
# usage: lab/byhand.sh DIRECTORY VERSION [NODE...]
#   DIRECTORY  of the lab, with its kubeconfig and ssh_config
#   VERSION    to go to, 1.37.2
#   NODE       those to upgrade, the first control plane first; all if none is named
#
# Writes a line for each step, with the time that it took.
set -euo pipefail
trap 'echo "byhand.sh: line $LINENO: status $?" >&2' ERR

lab=$1 version=${2#v}
shift 2
minor=${version%.*}
export KUBECONFIG=$lab/kubeconfig
kubectl=$lab/kubectl
command -v "$kubectl" >/dev/null || { echo "there is no lab in $lab" >&2; exit 2; }

nodes=("$@")
if ((${#nodes[@]} == 0)); then
	mapfile -t nodes < <("$kubectl" get nodes -o name | sed 's,^node/,,' | sort)
fi

on() { # NODE SCRIPT: runs it there, with what it says kept for a failure
	local log
	log=$(mktemp)
	if ! ssh -F "$lab/ssh_config" "$1" sudo bash -euo pipefail -s >"$log" 2>&1 <<<"$2"; then
		tail -n 30 "$log" >&2
		rm -f "$log"
		return 1
	fi
	rm -f "$log"
}

awaitapi() { # until the API server answers
	local tries=0
	until "$kubectl" get --raw /readyz >/dev/null 2>&1; do
		((++tries < 600)) || { echo "the API server does not answer" >&2; exit 1; }
		sleep 1
	done
}

# A step that fails is tried again when the API server answers: a kubelet of another
# minor makes the static pods of its machine anew some seconds after it has begun,
# so the API server of a single control plane goes once more.
step() { # NODE WHAT COMMAND...
	local node=$1 what=$2 begin=$EPOCHREALTIME tries=0
	shift 2
	until "$@" >/dev/null; do
		((++tries < 4)) || { echo "$node: $what: failed" >&2; exit 1; }
		awaitapi
	done
	awk -v node="$node" -v what="$what" -v b="$begin" -v e="$EPOCHREALTIME" 'BEGIN { printf "%-6s %-28s %6.1f s\n", node, what, e - b }'
}

packages() { # NODE PACKAGE...
	local node=$1
	shift
	on "$node" "
		export DEBIAN_FRONTEND=noninteractive
		apt-mark unhold $*
		for p in $*; do
			v=\$(apt-cache madison \$p | awk -v v='$version-' 'index(\$3, v) == 1 { print \$3; exit }')
			apt-get install -y -q \$p=\$v
		done
		apt-mark hold $*"
}

awaitready() { # NODE: until it is Ready with the version
	"$kubectl" wait --timeout=10m --for=jsonpath='{.status.nodeInfo.kubeletVersion}'="v$version" "node/$1"
	"$kubectl" wait --timeout=10m --for=condition=Ready "node/$1"
}

# What kubeadm has against cgroup v1 is to be passed over, it says itself.
ignore='ignore=; [[ $(stat -fc %T /sys/fs/cgroup) == cgroup2fs ]] || ignore=--ignore-preflight-errors=SystemVerification'

controlplanes=$("$kubectl" get nodes -l node-role.kubernetes.io/control-plane -o name)

begin=$SECONDS
first=1
for node in "${nodes[@]}"; do
	step "$node" "repository" on "$node" "sed -i 's,/v[0-9.]*/deb/,/v$minor/deb/,' /etc/apt/sources.list.d/kubernetes.list; apt-get update -q"
	step "$node" "package kubeadm" packages "$node" kubeadm
	if ((first)) && grep -qx "node/$node" <<<"$controlplanes"; then
		step "$node" "kubeadm upgrade plan" on "$node" "kubeadm upgrade plan v$version"
		step "$node" "kubeadm upgrade apply" on "$node" "$ignore; kubeadm upgrade apply -y \$ignore v$version"
	else
		step "$node" "kubeadm upgrade node" on "$node" "$ignore; kubeadm upgrade node \$ignore"
	fi
	first=0
	step "$node" "drain" "$kubectl" drain "$node" --ignore-daemonsets --delete-emptydir-data --timeout=10m
	step "$node" "packages kubelet, kubectl" packages "$node" kubelet kubectl
	step "$node" "restart of the kubelet" on "$node" "systemctl daemon-reload; systemctl restart kubelet"
	step "$node" "ready" awaitready "$node"
	step "$node" "uncordon" "$kubectl" uncordon "$node"
done
echo "${#nodes[@]} nodes in $((SECONDS - begin)) s"
