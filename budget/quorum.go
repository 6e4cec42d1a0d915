// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package budget

const (
	// leastQuorum is the size from which on a majority is left when one member is
	// away: 2 of 3. With 2 members there is none, so that waiting for the other
	// one would protect nothing.
	leastQuorum = 3
	// mostQuorum is more than anybody runs whose members vote, because each vote
	// costs every write a message: etcd says no more than 7 members
	// (https://etcd.io/docs/v3.6/faq/, "What is maximum cluster size?"), Consul 3 or
	// 5 (https://learn.hashicorp.com/consul/day-2-operations/servers). A larger
	// StatefulSet is a sharded service, whose replicas do not vote together.
	mostQuorum = 9
)

// Quorum tells whether a workload, by its API group, its kind and the replicas
// that it is to have, is taken for a group whose members agree by majority: an
// apps StatefulSet of 3 to 9 replicas. Of such a set never two members are taken
// away together, whether or not a budget says so. Kubernetes does not know what
// a StatefulSet is for; a set that would have borne more loses a little time,
// and a majority that is lost loses its service.
//
// Unknown replicas (negative) are no quorum.
func Quorum(group, kind string, replicas int32) bool {
	return group == "apps" && kind == "StatefulSet" && replicas >= leastQuorum && replicas <= mostQuorum
}
