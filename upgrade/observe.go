// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package upgrade

import (
	"context"
	"errors"
	"fmt"

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
	// Hosts looks at the machines; nil if nobody may.
	Hosts Hosts
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
	return s, o.look(ctx, s, goal)
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
	if o.Hosts == nil {
		return nil
	}
	minors := minorsTo(s, goal)
	found := make([]Host, len(s.Snapshot.Nodes))
	group, looking := errgroup.WithContext(ctx)
	group.SetLimit(parallelLooks)
	planes := map[string]bool{}
	for _, r := range RunningOf(s.Snapshot) {
		planes[r.Node] = planes[r.Node] || r.Static
	}
	for i, n := range s.Snapshot.Nodes {
		if o.Strategy == Replace && !planes[n.Name] {
			continue
		}
		group.Go(func() error {
			h, err := o.Hosts.Look(looking, n, minors)
			found[i] = h
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("look at the machines: %w", err)
	}
	for i, n := range s.Snapshot.Nodes {
		if o.Strategy != Replace || planes[n.Name] {
			s.Hosts[n.Name] = found[i]
		}
	}
	return nil
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
