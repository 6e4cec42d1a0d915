// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package upgrade

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"refit.dev/refit/budget"
	"refit.dev/refit/cluster"
	"refit.dev/refit/internal/phrase"
)

// checkEtcd looks at the members of etcd that are static pods. kubeadm restarts one
// after the other, so that all of them have to be there before.
func (d *decision) checkEtcd() {
	if !slices.ContainsFunc(d.plan.Hops, func(h Hop) bool { return len(h.ControlPlane) > 0 }) || d.Config != nil && d.Config.ExternalEtcd {
		return
	}
	var members, unseen []string
	alarms := map[string]bool{}
	for _, p := range d.Snapshot.Pods {
		if p.Namespace != metav1.NamespaceSystem || p.Host == nil || !p.Mirror() || len(p.Spec.Containers) == 0 || p.Spec.Containers[0].Name != Etcd {
			continue
		}
		members = append(members, p.Host.Name)
		if !budget.Healthy(p.Pod) {
			d.add(EtcdMember, cluster.Object{Kind: "Pod", Namespace: p.Namespace, Name: p.Name}, "is not Ready: the member of etcd on %s may not take part", p.Host.Name)
		}
		e := d.Hosts[p.Host.Name].Etcd
		switch {
		case e == nil:
			unseen = append(unseen, p.Host.Name)
			continue
		case e.Alarm != "" && !alarms[e.Alarm]: // each member tells of the whole cluster's
			alarms[e.Alarm] = true
			d.add(EtcdAlarm, self(), "etcd has raised the alarm %s", e.Alarm)
		case e.Alarm == "" && e.Problem != "":
			d.add(EtcdMember, nodeObject(p.Host.Name), "its member of etcd is not well: %s", e.Problem)
		}
		if e.Quota > 0 && e.Size > e.Quota/10*8 {
			d.add(EtcdSize, nodeObject(p.Host.Name), "its etcd database has %s of the %s that it may have", mebibytes(e.Size), mebibytes(e.Quota))
		}
	}
	if len(members) == 1 {
		d.add(EtcdSingle, nodeObject(members[0]), "has the only member of etcd")
	}
	if len(unseen) > 0 {
		d.add(EtcdUnseen, self(), "the alarms and the health of etcd, and the size of its database, were not asked of the %s on %s",
			phrase.Plural(len(unseen), "member", "members"), few(unseen))
	}
}

// checkServers tells of API servers that are not well.
func (d *decision) checkServers() {
	for _, name := range d.hostsSeen() {
		if a := d.Hosts[name].APIServer; a != nil && a.Problem != "" {
			d.add(ServerUnwell, nodeObject(name), "its API server is not well: %s", a.Problem)
		}
	}
}

// newerTag compares tags of images such as 3.6.8-0 and v1.14.2, number by number.
func newerTag(a, b string) bool {
	numbers := func(tag string) []int {
		var list []int
		for _, part := range strings.FieldsFunc(tag, func(r rune) bool { return r < '0' || r > '9' }) {
			n, _ := strconv.Atoi(part) // digits; too many of them count as the most there can be
			list = append(list, n)
		}
		return list
	}
	return slices.CompareFunc(numbers(a), numbers(b), cmp.Compare) > 0
}
