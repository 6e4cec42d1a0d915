#!/bin/sh
# A provider for refit, with the command line of Hetzner Cloud (hcloud) and jq. Servers whose names are
# those of Nodes, with the label cluster=prod; an image per version of Kubernetes that has containerd,
# kubeadm and kubelet. Adapt the line after set -eu.
set -eu
cluster=prod type=cpx31 location=nbg1
question=$(cat)
ask() { printf '%s' "$question" | jq -er "$1"; }

# Fills $machines. hcloud stands in no pipe, whose status would be that of its end: a list that could not be had
# would be an empty one, and a machine be made twice, or taken for gone.
look() {
	answer=$(hcloud server list -l "cluster=$cluster" -o json)
	machines=$(printf '%s' "$answer" | jq -c '[(. // [])[] | {id: (.id | tostring), node: .name, key: (.labels.refit // ""), deleting: (.status == "deleting")}]')
	if [ -z "$machines" ]; then
		echo "hcloud server list has answered nothing" >&2
		exit 1
	fi
}
have() { printf '%s' "$machines" | jq -e --arg want "$2" "any(.$1 == \$want)" >/dev/null; }

case $(ask .action) in
list)
	look
	printf '{"machines": %s}\n' "$machines"
	;;
create)
	key=$(ask .order.key)
	version=$(ask .order.version)
	server=$(ask .order.join.server)
	token=$(ask .order.join.token)
	hash=$(ask .order.join.caCertHash)
	look
	# Names are unique there: who asks twice finds the server of the first time.
	if ! have key "$key"; then
		umask 077
		boot=$(mktemp)
		trap 'rm -f "$boot"' EXIT
		cat >"$boot" <<EOF
#!/bin/sh
kubeadm join '$server' --token '$token' \\
  --discovery-token-ca-cert-hash '$hash' --node-name '$key'
EOF
		hcloud server create --name "$key" --type "$type" --location "$location" --image "kubernetes-$version" \
			--label "cluster=$cluster" --label "refit=$key" --user-data-from-file "$boot" >&2
		look
	fi
	printf '%s' "$machines" | jq -ce --arg key "$key" '{machine: (map(select(.key == $key))[0] // error("it is not listed"))}'
	;;
delete)
	id=$(ask .machine.id)
	look
	if have id "$id"; then
		hcloud server delete "$id" >&2
	fi
	;;
*)
	echo "want an action: list, create or delete" >&2
	exit 1
	;;
esac
