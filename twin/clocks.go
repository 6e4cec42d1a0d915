// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package twin

import (
	"fmt"
	"strconv"
	"time"
)

const (
	// kubeletLease is the default of nodeLeaseDurationSeconds of KubeletConfiguration
	// (pkg/kubelet/apis/config/v1beta1/defaults.go of Kubernetes).
	kubeletLease = 40 * time.Second
	// leaseRenewals is how often a kubelet renews its lease in that time
	// (nodeLeaseRenewIntervalFraction in pkg/kubelet/kubelet.go).
	leaseRenewals = 4
	// monitorGracePeriod is the default of node-monitor-grace-period, of all versions
	// that a twin can behave as: it was raised from 40 s in 1.32, and an emulated
	// version does not change it (pkg/controller/nodelifecycle/config/v1alpha1/defaults.go).
	monitorGracePeriod = 50 * time.Second
)

// lease returns how long the lease of a node holds.
func (o *Options) lease() time.Duration {
	if o.NodeLease == 0 {
		return kubeletLease
	}
	return o.NodeLease
}

// checkClocks refuses clocks that no control plane takes, and a grace period in
// which a node that works does not renew its lease: it would be lost again and again.
func (o *Options) checkClocks() error {
	for _, c := range []struct {
		what string
		d    time.Duration
	}{
		{"time that the lease of a node holds", o.NodeLease},
		{"grace period of the node monitor", o.NodeMonitorGracePeriod},
		{"default toleration of lost nodes", o.DefaultToleration},
	} {
		if c.d < 0 {
			return fmt.Errorf("%s is %s: it cannot be negative", c.what, c.d)
		}
		if c.d%time.Second != 0 {
			return fmt.Errorf("%s is %s: want whole seconds", c.what, c.d)
		}
	}
	grace := o.NodeMonitorGracePeriod
	if grace == 0 {
		grace = monitorGracePeriod
	}
	if renew := o.lease() / leaseRenewals; grace <= renew {
		return fmt.Errorf("grace period of the node monitor is %s, and kubelets renew their leases every %s: want a longer grace period or leases that hold for a shorter time than %s",
			grace, renew, o.lease())
	}
	return nil
}

// tolerationArgs are kube-apiserver's arguments for how long pods stay bound to lost nodes.
func (o *Options) tolerationArgs() []string {
	if o.DefaultToleration == 0 {
		return nil
	}
	seconds := strconv.FormatInt(int64(o.DefaultToleration/time.Second), 10)
	return []string{"--default-not-ready-toleration-seconds=" + seconds, "--default-unreachable-toleration-seconds=" + seconds}
}

// monitorArgs are kube-controller-manager's arguments for when a node is lost.
func (o *Options) monitorArgs() []string {
	if o.NodeMonitorGracePeriod == 0 {
		return nil
	}
	return []string{"--node-monitor-grace-period=" + o.NodeMonitorGracePeriod.String()}
}
