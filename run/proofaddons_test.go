// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"refit.dev/refit/event"
)

// proxy puts a kube-proxy of a version on a node.
func (c *fakeCluster) proxy(node, version string) {
	c.change(func() {
		pod := c.newPod("kube-proxy", node, true)
		pod.Name, pod.Namespace, pod.OwnerReferences = "kube-proxy-"+node, "kube-system", nil
		pod.Labels = map[string]string{"k8s-app": "kube-proxy"}
		pod.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: "x"} // no drain touches it
		pod.Spec.Containers = []corev1.Container{{Image: "registry.example:5000/kube-proxy:" + version}}
		c.pods = append(slices.DeleteFunc(c.pods, func(p *corev1.Pod) bool { return p.Name == pod.Name }), pod)
	})
}

// An upgrade is not done as long as a kube-proxy or kubeadm's own record is of another version.
func TestUpgradeProvesAddons(t *testing.T) {
	for _, tc := range []struct {
		name, proxy, recorded string
		err                   error
		result                event.Result
		says                  string
	}{
		{"all at the goal", newVersion, newVersion, nil, event.ResultDone, "2 nodes looked at: all at v1.37.2"},
		{"an old kube-proxy", oldVersion, newVersion, nil, event.ResultUnfinished, "not every node is at v1.37.2: node b: its kube-proxy is v1.36.3"},
		{"an old record", newVersion, oldVersion, nil, event.ResultUnfinished, `kube-system/kubeadm-config says "v1.36.3"`},
		{"no way to look at the record", newVersion, "", errors.New("no such right"), event.ResultDone, "record of the cluster was not looked at: no such right"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := newFakeCluster(t, "a", "b")
			c.proxy("a", newVersion)
			c.proxy("b", tc.proxy)
			spec := upgradeSpec("a", "b")
			spec.Upgrade.KubeProxy = true
			spec.Timeouts.Ready.Duration = 50 * time.Millisecond
			tr, f := upgradeTrial(t, c, spec)
			u := tr.upgrading(f)
			u.recorded = func(context.Context) (string, error) { return tc.recorded, tc.err }
			tr.work = u
			o := tr.run(deadline(t))
			if s := tr.last(t); o.Result != tc.result || !contains(s.Message, tc.says) {
				t.Errorf("%s: %s", o.Result, s.Message)
			}
		})
	}
}

// A kube-proxy that comes late is waited for.
func TestUpgradeAwaitsProxies(t *testing.T) {
	c := newFakeCluster(t, "a")
	c.proxy("a", oldVersion)
	spec := upgradeSpec("a")
	spec.Upgrade.KubeProxy = true
	tr, _ := upgradeTrial(t, c, spec)
	tr.cluster.onNode = func(name string) error {
		// The last looks at a node are those of the proof.
		if n := c.Seen(name); n.Status.NodeInfo.KubeletVersion == newVersion && !n.Spec.Unschedulable {
			go c.proxy("a", newVersion)
		}
		return nil
	}
	if o := tr.run(deadline(t)); o.Result != event.ResultDone {
		t.Errorf("%+v", o)
	}
}
