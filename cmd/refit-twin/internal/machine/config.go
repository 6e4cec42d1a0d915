// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package machine

// Config is what the controller needs. The names of labels and annotations
// come from package refit.dev/refit/twin/simulated.
type Config struct {
	Kubeconfig string `json:"kubeconfig"`
	// KubeletsKubeconfig is that of the simulated kubelets.
	KubeletsKubeconfig string `json:"kubeletsKubeconfig"`
	// RebootTime, a Go duration, is how long a machine is down in a reboot, unless its node says otherwise.
	RebootTime string `json:"rebootTime"`
	// LeaseDuration, a Go duration of whole seconds, is how long the lease of a node holds (a kubelet's
	// nodeLeaseDurationSeconds). It is renewed each quarter of that.
	LeaseDuration string `json:"leaseDuration"`
	// KubeletLabel on a node is Running while its kubelet lives, Rebooting in a reboot.
	KubeletLabel string `json:"kubeletLabel"`
	Running      string `json:"running"`
	Rebooting    string `json:"rebooting"`
	// TendedLabel on a node has the simulated kubelets look after it.
	TendedLabel string `json:"tendedLabel"`
	// RebootAnnotation holds the boot ID that the node shall have.
	RebootAnnotation string `json:"rebootAnnotation"`
	// RebootTimeAnnotation overrides RebootTime; "never" for a machine that does not come back.
	RebootTimeAnnotation string `json:"rebootTimeAnnotation"`
	// DownSinceAnnotation is when the machine went down, RFC 3339 with nanoseconds.
	DownSinceAnnotation string `json:"downSinceAnnotation"`
}
