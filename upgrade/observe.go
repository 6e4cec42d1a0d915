// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package upgrade

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/clock"

	"refit.dev/refit/cluster"
	"refit.dev/refit/skew"
)

// Hosts looks at machines.
type Hosts interface {
	// Look looks at the machine of a node, and asks its repositories for the packages of
	// these minors. It changes nothing there. What goes wrong is in Host.Problem; the
	// error is that of ctx.
	Look(ctx context.Context, node *cluster.Node, minors []int) (Host, error)
}

// GetWith returns the Get of an Observer that asks as client does.
func GetWith(client kubernetes.Interface) func(ctx context.Context, path string) ([]byte, error) {
	return func(ctx context.Context, path string) ([]byte, error) {
		return client.Discovery().RESTClient().Get().AbsPath(path).SetHeader("Accept", "application/json, text/plain;q=0.9").DoRaw(ctx)
	}
}

// Observer reads what an upgrade is decided from.
type Observer struct {
	Client kubernetes.Interface
	// Get answers an HTTP GET of the API server for a path, as JSON or text.
	Get func(ctx context.Context, path string) ([]byte, error)
	// Hosts looks at the machines of clusters of kubeadm, Units at those whose components are
	// services; nil if nobody may.
	Hosts, Units Hosts
	// Method is by what versions are to be raised; "" is found out.
	Method Method
	// Strategy is how workers are to move: with Replace nobody has to look at their machines.
	Strategy Strategy
	Clock    clock.PassiveClock
}

// parallelLooks is how many machines are looked at at once.
const parallelLooks = 10

// Observe reads the cluster and, for the way to goal, its machines.
func (o *Observer) Observe(ctx context.Context, goal skew.Version) (*State, error) {
	snapshot, err := cluster.Read(ctx, o.Client, cluster.WithClock(o.Clock))
	if err != nil {
		return nil, err
	}
	system, err := o.Client.CoreV1().Namespaces().Get(ctx, metav1.NamespaceSystem, metav1.GetOptions{})
	if err != nil {
		return nil, cluster.Explain(err, "namespace "+metav1.NamespaceSystem)
	}
	s := &State{Cluster: system.UID, Snapshot: snapshot, Hosts: map[string]Host{}}
	if err := o.readConfig(ctx, s); err != nil {
		return nil, err
	}
	if err := o.readAPIs(ctx, s); err != nil {
		return nil, err
	}
	if s.Method, err = o.method(ctx, s); err != nil {
		return nil, err
	}
	if s.Method == Managed {
		if err := o.readServers(ctx, s); err != nil {
			return nil, err
		}
	}
	return s, o.look(ctx, s, goal)
}

// method finds out by what versions are raised: the control plane runs in static pods, or its
// machines have services. What is neither is left to Kubeadm, whose plans say so.
func (o *Observer) method(ctx context.Context, s *State) (Method, error) {
	if o.Method != "" || o.Units == nil ||
		slices.ContainsFunc(RunningOf(s.Snapshot), func(r Running) bool { return r.Component == string(skew.APIServer) && r.Static }) {
		return cmp.Or(o.Method, Kubeadm), nil
	}
	nodes := slices.DeleteFunc(slices.Clone(s.Snapshot.Nodes), func(n *cluster.Node) bool { return !labelledPlane(n) })
	if len(nodes) == 0 {
		nodes = s.Snapshot.Nodes
	}
	found, err := lookAt(ctx, o.Units, nodes, nil)
	for _, h := range found {
		if slices.ContainsFunc(h.Units, func(u Unit) bool { return u.Component == string(skew.APIServer) }) {
			return Units, err
		}
	}
	return Kubeadm, err
}

// unseen notes that something could not be read, unless the reading was cut short or the
// API server is gone: that is the error.
func (s *State) unseen(err error, resource, unknown string) error {
	why := string(apierrors.ReasonForError(err))
	if status := apierrors.APIStatus(nil); errors.As(err, &status) && status.Status().Message != "unknown" {
		why = err.Error() // of a plain path there is nothing but the reason
	}
	switch {
	case err == nil:
		return nil
	case apierrors.IsForbidden(err), apierrors.IsNotFound(err), apierrors.IsUnauthorized(err):
		s.Unseen = append(s.Unseen, cluster.Finding{
			Severity: cluster.Warning, Code: cluster.CodeUnread, Object: cluster.Object{Kind: "Resource", Name: resource},
			Message: "could not be read, so it is not known " + unknown + ": " + why,
			Hint:    "Allow this user to get it: docs/how-to/upgrade-plan.md lists the rights.",
		})
		return nil
	}
	return cluster.Explain(err, resource)
}

// look looks at all machines.
func (o *Observer) look(ctx context.Context, s *State, goal skew.Version) error {
	hosts := o.Hosts
	if s.Method == Units {
		hosts = o.Units
	}
	if hosts == nil {
		return nil
	}
	planes := map[string]bool{}
	for _, r := range RunningOf(s.Snapshot) {
		planes[r.Node] = planes[r.Node] || r.Static
	}
	nodes := slices.DeleteFunc(slices.Clone(s.Snapshot.Nodes), func(n *cluster.Node) bool {
		return o.Strategy == Replace && s.Method != Units && !planes[n.Name]
	})
	found, err := lookAt(ctx, hosts, nodes, minorsTo(s, goal))
	for i, n := range nodes {
		if err == nil {
			s.Hosts[n.Name] = found[i]
		}
	}
	return err
}

// lookAt looks at the machines of nodes, several at once.
func lookAt(ctx context.Context, hosts Hosts, nodes []*cluster.Node, minors []int) ([]Host, error) {
	found := make([]Host, len(nodes))
	group, looking := errgroup.WithContext(ctx)
	group.SetLimit(parallelLooks)
	for i, n := range nodes {
		group.Go(func() (err error) {
			found[i], err = hosts.Look(looking, n, minors)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, fmt.Errorf("look at the machines: %w", err)
	}
	return found, nil
}

// minorsTo are the minors of the way from the oldest API server to a goal.
func minorsTo(s *State, goal skew.Version) []int {
	c := components(s.Snapshot, RunningOf(s.Snapshot), func(string) bool { return false })
	first := goal.Minor
	for _, i := range c.APIServers {
		first = min(first, i.Version.Minor)
	}
	var minors []int
	for minor := max(first, goal.Minor-farthest); minor <= goal.Minor; minor++ {
		minors = append(minors, minor)
	}
	return minors
}

// farthest is how many hops a way may have before asking for packages is no use.
const farthest = 10
