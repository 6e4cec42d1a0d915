// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package skew

// Rule is one sentence of the policy; its name is stable.
type Rule string

// The rules of https://kubernetes.io/releases/version-skew-policy/.
const (
	// RuleAPIServers: the newest and the oldest API server are within one minor.
	RuleAPIServers Rule = "apiserver-apiserver"
	// RuleControllerManager, RuleScheduler and RuleCloudControllerManager: never
	// newer than an API server they talk to, at most one minor older.
	RuleControllerManager      Rule = "controller-manager-apiserver"
	RuleScheduler              Rule = "scheduler-apiserver"
	RuleCloudControllerManager Rule = "cloud-controller-manager-apiserver"
	// RuleKubelet and RuleKubeProxy: never newer than an API server they talk to,
	// at most three minors older, two if they are older than 1.25 (KEP-3935).
	RuleKubelet   Rule = "kubelet-apiserver"
	RuleKubeProxy Rule = "kube-proxy-apiserver"
	// RuleKubeProxyKubelet: kube-proxy is within three minors of the kubelet beside
	// it, two if kube-proxy is older than 1.25.
	RuleKubeProxyKubelet Rule = "kube-proxy-kubelet"
	// RuleKubectl: within one minor of every API server.
	RuleKubectl Rule = "kubectl-apiserver"
	// RuleSupported: the project fixes the newest three minors only.
	RuleSupported Rule = "supported-minor"
)

// limit is how far a component may be from a peer, in minors.
type limit struct {
	rule      Rule
	component Component
	peer      Component
	older     int // at most so many minors older than the peer
	newer     int // at most so many minors newer
	shrink    int // how much both shrink (not below 0) for a component older than boundary
	statement string
}

// boundary is the first minor of kubelet and kube-proxy that may lag by three.
const boundary = 25

// limits returns the policy as data. An API server's peer is the newest one: "at
// most one older than that" says the same as the policy and names those to move.
func limits() []limit {
	const controlPlane = "must not be newer than any kube-apiserver it talks to and may be at most 1 minor older"
	const node = "must not be newer than any kube-apiserver it talks to and may be at most 3 minors older (2 below 1.25)"
	return []limit{
		{rule: RuleAPIServers, component: APIServer, peer: APIServer, older: 1,
			statement: "instances of one cluster must be within 1 minor of each other"},
		{rule: RuleControllerManager, component: ControllerManager, peer: APIServer, older: 1, statement: controlPlane},
		{rule: RuleScheduler, component: Scheduler, peer: APIServer, older: 1, statement: controlPlane},
		{rule: RuleCloudControllerManager, component: CloudControllerManager, peer: APIServer, older: 1, statement: controlPlane},
		{rule: RuleKubelet, component: Kubelet, peer: APIServer, older: 3, shrink: 1, statement: node},
		{rule: RuleKubeProxy, component: KubeProxy, peer: APIServer, older: 3, shrink: 1, statement: node},
		{rule: RuleKubeProxyKubelet, component: KubeProxy, peer: Kubelet, older: 3, newer: 3, shrink: 1,
			statement: "must be within 3 minors (2 below 1.25) of the kubelet beside it"},
		{rule: RuleKubectl, component: Kubectl, peer: APIServer, older: 1, newer: 1,
			statement: "must be within 1 minor of every kube-apiserver it talks to"},
	}
}

// distance returns how many minors older and newer a component of that minor may be.
func (l limit) distance(minor int) (older, newer int) {
	if minor < boundary {
		return max(0, l.older-l.shrink), max(0, l.newer-l.shrink)
	}
	return l.older, l.newer
}

// tooOld and tooNew judge a component's minor against a peer's.
func (l limit) tooOld(minor, peer int) bool {
	older, _ := l.distance(minor)
	return peer-minor > older
}

func (l limit) tooNew(minor, peer int) bool {
	_, newer := l.distance(minor)
	return minor-peer > newer
}

// Range is an interval of minors, both ends included; it is empty if Oldest > Newest.
type Range struct{ Oldest, Newest int }

// Contains reports whether minor is in r.
func (r Range) Contains(minor int) bool { return r.Oldest <= minor && minor <= r.Newest }

// Empty reports whether no minor is in r.
func (r Range) Empty() bool { return r.Oldest > r.Newest }

// allowed returns the minors that suit every peer from the oldest to the newest.
// It tries them one by one, so that it cannot say anything else than the judgement.
func (l limit) allowed(oldest, newest int) Range {
	r := Range{Oldest: 1, Newest: 0}
	for minor := max(0, newest-l.older); minor <= oldest+l.newer; minor++ {
		if l.tooOld(minor, newest) || l.tooNew(minor, oldest) {
			continue
		}
		if r.Empty() {
			r.Oldest = minor
		}
		r.Newest = minor
	}
	return r
}

// NewestKnown is the newest released minor at the time of writing.
const NewestKnown = 37

// Supported returns the minors that get fixes while newest is the newest released one.
func Supported(newest int) Range { return Range{Oldest: max(0, newest-2), Newest: newest} }
