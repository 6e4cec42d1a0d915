// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package upgrade

import (
	"cmp"
	"slices"

	"refit.dev/refit/cluster"
	"refit.dev/refit/skew"
)

// kubeadmMethod moves clusters of kubeadm: the kubeadm of the new version moves static pods
// and addons, and packages bring kubelets.
type kubeadmMethod struct{}

func (kubeadmMethod) foreign(d *decision) *cluster.Finding {
	if slices.ContainsFunc(d.running, func(r Running) bool { return r.Component == string(skew.APIServer) && r.Static }) {
		return nil
	}
	f := d.finding(NotKubeadm, self(), "no kube-apiserver runs as a static pod of kube-system: nothing is known of the control plane but that it answers as %s", cmp.Or(d.Snapshot.Server, "nothing"))
	return &f
}

func (kubeadmMethod) see(_ *decision, c skew.Components) skew.Components { return c }

// begun tells whether kubeadm has to be run although the API servers are there: it was ended
// between the static pods and its record of the cluster or kube-proxy, which it writes last.
func (kubeadmMethod) begun(d *decision, h skew.Hop) bool {
	if len(d.now.APIServers) == 0 || slices.ContainsFunc(d.now.APIServers, func(i skew.Instance) bool { return i.Version.Compare(h.To) != 0 }) {
		return false
	}
	proxies := slices.ContainsFunc(h.Moves, func(m skew.Move) bool { return m.Stage == skew.StageKubeProxy })
	if proxies && len(h.Moves) > 1 { // if one of them is there, their DaemonSet is, and they follow
		proxies = !slices.ContainsFunc(d.now.KubeProxies, func(i skew.Instance) bool { return i.Version.Compare(h.To) == 0 })
	}
	return d.Config != nil && d.needsApply(h.To) || proxies
}

// needsApply tells whether kubeadm upgrade apply has still to be run for a hop: it
// writes the version into kubeadm's configuration, and what runs kubeadm upgrade node
// goes by that.
func (d *decision) needsApply(to skew.Version) bool {
	if d.Config == nil {
		return true
	}
	v, err := skew.Parse(d.Config.KubernetesVersion)
	return err != nil || v.Compare(to) != 0
}

// firstServer is the node of the control plane on which kubeadm finishes what it left.
func (d *decision) firstServer() string {
	server := ""
	for _, i := range d.now.APIServers {
		if server == "" || i.Name < server {
			server = i.Name
		}
	}
	return server
}

func (k kubeadmMethod) turns(d *decision, h skew.Hop) (list []turn, proxies bool) {
	unfinished := k.begun(d, h)
	first := unfinished || d.needsApply(h.To)
	server := d.firstServer()
	if unfinished && !slices.ContainsFunc(h.Moves, func(m skew.Move) bool { return m.Stage == skew.StageControlPlane && m.Node == server }) {
		h.Moves = slices.Insert(slices.Clone(h.Moves), 0, skew.Move{Stage: skew.StageControlPlane, Node: server})
	}
	for _, m := range h.Moves {
		role := ControlPlane
		switch {
		case m.Stage == skew.StageKubeProxy:
			proxies = true
			continue
		case m.Stage == skew.StageWorker:
			continue
		case m.Stage == skew.StageControlPlaneKubelet:
			role = ControlPlaneKubelet
		case m.Stage == skew.StageControlPlane && !slices.ContainsFunc(m.Components, notKubelet) && (!unfinished || m.Node != server):
			role = ControlPlaneKubelet // all but its kubelet is there
		case first:
			role, first = FirstControlPlane, false
		}
		list = append(list, turn{node: m.Node, role: role, kubelet: m.MovesKubelet()})
	}
	return list, proxies
}

func (kubeadmMethod) worker(_ *decision, node string) turn {
	return turn{node: node, role: Worker, kubelet: true}
}

func notKubelet(c skew.Component) bool { return c != skew.Kubelet }

func (kubeadmMethod) serving(_ *decision, t turn) (steps []Step, programs []string) {
	runs := Step{Name: StepNode, Seconds: takesNodeConfig.Seconds()}
	switch t.role {
	case ControlPlaneKubelet: // kubeadm was there in an earlier visit
		return nil, nil
	case FirstControlPlane:
		runs = Step{Name: StepApply, Seconds: takesControlPlane.Seconds()}
	case ControlPlane:
		runs.Seconds = takesControlPlane.Seconds()
	case Worker:
	}
	return []Step{{Name: StepPackages, Seconds: takesPackages.Seconds()}, runs}, []string{"kubeadm"}
}

func (kubeadmMethod) empty(*decision, turn) (steps []Step, programs []string) {
	return []Step{{Name: StepKubelet, Seconds: takesKubelet.Seconds()}}, []string{"kubelet", "kubectl"}
}

// lacks lists the packages that the host's repositories do not have in a version.
func (kubeadmMethod) lacks(h *Host, v skew.Version) []string {
	var missing []string
	for _, name := range kubePackages() {
		if _, there := h.installed(name); there || name != "kubectl" {
			if h.offer(name, v) == "" {
				missing = append(missing, name)
			}
		}
	}
	return missing
}

// of is the version of a component of the version-skew policy.
func of(now skew.Components, r Running, last string) string {
	for _, i := range now.Of(skew.Component(r.Component)) {
		if i.Name == r.Node {
			return i.Version.String()
		}
	}
	return last
}

// brought goes by what kubeadm of a minor brings along: etcd with each control plane, and
// CoreDNS with any.
func (kubeadmMethod) brought(_ *decision, r Running, last string, now skew.Components, h skew.Hop) string {
	if r.Component != Etcd && r.Component != CoreDNS {
		return of(now, r, last)
	}
	with := brings()[h.To.Minor]
	brought := with.etcd
	if r.Component == CoreDNS {
		brought = with.coreDNS
	}
	moved := slices.ContainsFunc(h.Moves, func(m skew.Move) bool {
		return slices.Contains(m.Components, skew.APIServer) && (r.Component == CoreDNS || m.Node == r.Node)
	})
	switch {
	case !moved:
		return last
	case brought == "":
		return "" // nobody knows what that kubeadm brings
	case newerTag(last, brought):
		return last // kubeadm does not go back
	}
	return brought
}

// check looks at kubeadm's record of the cluster, at what it keeps for kubelets, and at static pods.
func (kubeadmMethod) check(d *decision) {
	d.checkConfig()
	d.checkEtcd()
	d.checkGates()
	d.checkConfigGates()
	d.checkPodGates()
}

func (kubeadmMethod) checkHost(d *decision, node string, h *Host) {
	d.checkPackages(node, h)
	d.checkDisks(node, h)
	d.checkCertificates(node, h)
	d.checkPreflight(node, h)
	d.checkImages(node, h)
}
