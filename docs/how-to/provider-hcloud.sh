#!/bin/sh
# A provider for refit, with the command line of Hetzner Cloud (hcloud) and jq. Servers whose names are
# those of Nodes, with the label cluster=prod; an image per version of Kubernetes that has containerd,
# kubeadm and kubelet. Adapt the three lines below.
set -eu
cluster=prod type=cpx31 location=nbg1
question=$(cat)
ask() { printf '%s' "$question" | jq -er "$1"; }
list() { hcloud server list -l "cluster=$cluster" -o json | jq -c '[.[]? | {id: (.id | tostring), node: .name, key: (.labels.refit // ""), deleting: (.status == "deleting")}]'; }

case $(ask .action) in
list)
	list | jq -c '{machines: .}'
	;;
create)
	key=$(ask .order.key)
	# Names are unique there: who asks twice finds the server of the first time.
	if ! list | jq -e --arg key "$key" 'any(.key == $key)' >/dev/null; then
		umask 077
		boot=$(mktemp)
		trap 'rm -f "$boot"' EXIT
		cat >"$boot" <<EOF
#!/bin/sh
kubeadm join '$(ask .order.join.server)' --token '$(ask .order.join.token)' \\
  --discovery-token-ca-cert-hash '$(ask .order.join.caCertHash)' --node-name '$key'
EOF
		hcloud server create --name "$key" --type "$type" --location "$location" --image "kubernetes-$(ask .order.version)" \
			--label "cluster=$cluster" --label "refit=$key" --user-data-from-file "$boot" >&2
	fi
	list | jq -ce --arg key "$key" '{machine: (map(select(.key == $key))[0] // error("it is not listed"))}'
	;;
delete)
	id=$(ask .machine.id)
	if list | jq -e --arg id "$id" 'any(.id == $id)' >/dev/null; then
		hcloud server delete "$id" >&2
	fi
	;;
esac
