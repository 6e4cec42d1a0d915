// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"strings"

	"refit.dev/refit/cluster"
	"refit.dev/refit/internal/phrase"
	"refit.dev/refit/skew"
	"refit.dev/refit/toleration"
)

// listExtraArgs is the first minor whose kubeadm writes its configuration as
// v1beta4, in which extraArgs is a list; before it is a map (kubeadm's
// reference, kubeadm-config.v1beta4).
const listExtraArgs = 31

// evictionTimeoutAdvice says what to change where so that the API server gives new
// pods so many seconds.
func evictionTimeoutAdvice(s *cluster.Snapshot, seconds int64) string {
	var b strings.Builder
	defaults := toleration.Defaults(s)
	fmt.Fprintf(&b, "Nothing was changed: no workload is selected, and the default is for kube-apiserver to give.\n"+
		"With these flags it gives %s to pods that are created afterwards and say nothing themselves;\n"+
		"pods that exist keep what they have, and are changed with --workload, --selector, -n or -A.\n\n", toleration.Duration(seconds))
	var nodes []string
	for _, server := range defaults[0].Servers {
		nodes = append(nodes, oneLine(server.Where))
	}
	if len(nodes) == 0 {
		b.WriteString("No kube-apiserver is to be seen in this cluster. If it is managed by a provider, only the provider\n" +
			"can change its flags: ask there, or set it for workloads, and leave out what follows. It is for a\n" +
			"control plane of your own that does not run as pods.\n\n")
		nodes = []string{"each control-plane node"}
	}
	fmt.Fprintf(&b, "1. On %s%s, as an argument of kube-apiserver\n"+
		"   (kubeadm: /etc/kubernetes/manifests/kube-apiserver.yaml, spec.containers[0].command):\n\n",
		phrase.Few(nodes, 5), phrase.Plural(len(defaults[0].Servers), "", ", one after the other"))
	for _, d := range defaults {
		fmt.Fprintf(&b, "     - %s=%d    # now %s: %s\n", d.Flag, seconds, d.Patience(), oneLine(d.Source))
	}
	for _, server := range defaults[0].Servers {
		if server.Seconds == nil { // the same for both taints
			fmt.Fprintf(&b, "\n   That does nothing as long as the admission plugin is off that reads them: %s,\n"+
				"   by %s. Take it out of there as well.\n", toleration.Plugin, oneLine(server.Source))
		}
	}
	b.WriteString("\n   The kubelet starts the API server again when the file is saved. Wait until it answers before\n" +
		"   you go on with the next one: kubectl get --raw /readyz\n\n" +
		"2. So that the next kubeadm upgrade keeps it, in ClusterConfiguration of ConfigMap kubeadm-config\n" +
		"   (kubectl -n kube-system edit configmap kubeadm-config):\n\n     apiServer:\n       extraArgs:\n")
	for _, d := range defaults {
		name := strings.TrimPrefix(d.Flag, "--")
		if v, err := skew.Parse(s.Server); err == nil && v.Minor < listExtraArgs {
			fmt.Fprintf(&b, "         %s: \"%d\"\n", name, seconds)
		} else {
			fmt.Fprintf(&b, "       - name: %s\n         value: \"%d\"\n", name, seconds)
		}
	}
	b.WriteString("\nrefit eviction-timeout get shows what is in force afterwards.\n")
	return b.String()
}
