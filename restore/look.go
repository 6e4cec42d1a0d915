// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package restore

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"refit.dev/refit/etcd"
	"refit.dev/refit/host"
	"refit.dev/refit/host/inventory"
	"refit.dev/refit/internal/hint"
	"refit.dev/refit/run"
)

// DefaultBump is added to the revision of what is restored: the least that the maintainers
// of etcd advise under a living cluster (https://etcd.io/docs/v3.6/op-guide/recovery/).
const DefaultBump = 1_000_000_000

// etcdManifest is where kubeadm puts the static pod of a member.
const etcdManifest = "/etc/kubernetes/manifests/etcd.yaml"

// Request is what a restore is asked for.
type Request struct {
	// File is the snapshot, an absolute path, Snapshot what is in it, and Set the name of the backup set that it was
	// fetched from, if it was.
	File     string
	Snapshot *etcd.Status
	Set      string
	// Nodes are the machines of all members of etcd.
	Nodes []string
	// DataDir is where the new data directories are to be; "" exchanges them for the old ones.
	DataDir string
	// Known are those of Nodes that the API server knows, Others the other nodes that it
	// knows, and LeftOut control planes among them: their API servers and members would go on.
	Known   map[string]*corev1.Node
	Others  []string
	LeftOut []string
	// OtherCluster lets a snapshot of another cluster be restored.
	OtherCluster bool
	// ClusterUID is the UID of the living cluster's namespace kube-system, Server where its
	// API server is; the UID is "" if it does not answer.
	ClusterUID string
	Server     string
	Access     inventory.Access
	// Broken says that etcd may run and not answer.
	Broken bool
}

// Source is what is to be restored, for people.
func (r *Request) Source() string { return (&run.Restore{File: r.File, Set: r.Set}).Source() }

// Prepared is a restore that can begin. Nothing was changed.
type Prepared struct {
	Spec *run.Spec
	// Live is the revision of the etcd in use, and LiveMembers how many members it has;
	// both are 0 if none answers.
	Live        int64
	LiveMembers int
	// Files are the paths of what an empty machine gets.
	Files []string
	// Warnings are what somebody should know before.
	Warnings []string
}

// Prepare looks at the machines and judges whether the snapshot can be restored there.
// The error is a *run.BlockedError if it would not be safe, with all the reasons.
func (o *Operator) Prepare(ctx context.Context, r Request) (*Prepared, error) {
	now := o.Clock.Now()
	spec := &run.Spec{
		Run: run.NewID(now), Created: now.UTC(), Access: &r.Access,
		Restore: &run.Restore{
			File: r.File, Set: r.Set, SHA256: r.Snapshot.SHA256, Revision: r.Snapshot.Revision, Token: "refit-" + rand.Text(), DataDir: r.DataDir, Others: r.Others,
		},
	}
	spec.Cluster.UID, spec.Cluster.Server = types.UID(cmp.Or(r.ClusterUID, r.Snapshot.ClusterUID)), r.Server
	p := &Prepared{Spec: spec}
	var stops []string
	if r.ClusterUID != "" && r.Snapshot.ClusterUID != r.ClusterUID && !r.OtherCluster {
		stops = append(stops, fmt.Sprintf("the snapshot is of another cluster: its namespace kube-system has the UID %q, this one's has %q (--other-cluster restores it all the same)",
			r.Snapshot.ClusterUID, r.ClusterUID))
	}
	if len(r.LeftOut) > 0 {
		stops = append(stops, fmt.Sprintf("control planes were not named, and would go on with the old data: %s (kubectl delete node, if one is gone for good)", strings.Join(r.LeftOut, ", ")))
	}
	var machines []*machine
	for _, node := range slices.Compact(slices.Sorted(slices.Values(r.Nodes))) {
		reached, err := o.Reach(nodeOf(node), spec.Run)
		if err != nil {
			return nil, fmt.Errorf("machine %s: %w", node, err)
		}
		if known := r.Known[node]; known != nil {
			if err := host.CheckSame(ctx, reached, known); err != nil {
				return nil, err
			}
		}
		member, err := o.look(ctx, reached, node)
		if err != nil {
			return nil, hint.Wrap(fmt.Errorf("machine %s: %w", node, err), "%s", cmp.Or(hint.Of(err), "nothing was changed"))
		}
		spec.Nodes = append(spec.Nodes, run.Target{Name: node})
		spec.Restore.Members = append(spec.Restore.Members, member)
		m := o.machine(reached, member, spec)
		machines = append(machines, m)
		why, err := m.whyNot(ctx, r)
		if err != nil {
			return nil, fmt.Errorf("machine %s: %w", node, err)
		}
		stops = append(stops, why...)
	}
	stops = append(stops, p.compare(ctx, machines, r)...)
	spec.Restore.BumpRevision = bump(p.Live, r.Snapshot.Revision, now)
	if len(stops) > 0 {
		return nil, hint.Wrap(&run.BlockedError{Err: errors.New("it would not be safe to restore:\n  " + strings.Join(stops, "\n  "))}, "nothing was changed")
	}
	return p, nil
}

// look finds out how etcd runs on a machine.
func (o *Operator) look(ctx context.Context, m host.Machine, node string) (run.Member, error) {
	if o.Twin != nil {
		return embeddedMember(o.Twin, node)
	}
	text, err := m.ReadFile(ctx, etcdManifest)
	var member run.Member
	switch {
	case err == nil:
		member, err = parseStaticPod(text)
	case errors.Is(err, fs.ErrNotExist):
		member, err = lookAtUnit(ctx, units{kubelet{files{m}}})
	}
	if err != nil {
		return member, err
	}
	member.Node = node
	member.APIServer, err = newControl(m, member).has(ctx, apiServer)
	return member, err
}

func lookAtUnit(ctx context.Context, u units) (run.Member, error) {
	there, err := u.has(ctx, etcdName)
	if err != nil {
		return run.Member{}, err
	}
	if !there {
		return run.Member{}, hint.Wrap(fmt.Errorf("there is neither %s nor a service etcd.service", etcdManifest), "name the machines on which the members of etcd are")
	}
	argv, env, err := u.command(ctx, etcdName)
	if err != nil {
		return run.Member{}, err
	}
	member, err := parseFlags(argv, env)
	if err != nil {
		return member, fmt.Errorf("etcd.service: %w", err)
	}
	member.Method = run.Units
	member.File, err = u.property(ctx, etcdName, "FragmentPath")
	return member, err
}

// whyNot says what on this machine is in the way.
func (m *machine) whyNot(ctx context.Context, r Request) (stops []string, err error) {
	stop := func(format string, args ...any) {
		stops = append(stops, "machine "+m.member.Node+": "+fmt.Sprintf(format, args...))
	}
	holder, err := m.claimed(ctx)
	if err != nil {
		return nil, err
	}
	if holder != "" {
		stop("run %s has begun to restore it, and was neither finished nor aborted (refit runs resume %s, or abort)", holder, holder)
	}
	if _, err := m.running(ctx); err != nil {
		stop("%v", err)
	}
	if !m.member.APIServer {
		stop("no API server is found there that is run as etcd is (%s): it would not be stopped", m.member.Method)
	}
	where := m.data.now
	if r.DataDir != "" {
		there, err := m.exists(ctx, r.DataDir)
		if err != nil {
			return nil, err
		}
		if there {
			stop("%s is there already: the new data directory must not be", r.DataDir)
		}
		if err := m.editable(ctx, r.DataDir); err != nil {
			stop("%v", err)
		}
		where = path.Dir(r.DataDir)
	}
	if there, err := m.exists(ctx, where); err != nil {
		return nil, err
	} else if !there {
		stop("there is no directory %s", where)
		return stops, nil
	}
	free, err := m.free(ctx, where)
	if err != nil {
		return nil, err
	}
	if need := r.Snapshot.TotalSize + etcd.LogSpace; free < need {
		stop("%s has %d MiB of free disk, and the restored data takes %d MiB", where, free>>20, need>>20)
	}
	return stops, nil
}

// free is how many bytes a directory's disk has room for.
func (m *machine) free(ctx context.Context, dir string) (int64, error) {
	text, err := m.text(ctx, "df", "--output=avail", "--block-size=1", dir)
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(text) // "Avail", and the number
	n, err := strconv.ParseInt(fields[len(fields)-1], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("df says of %s: %q", dir, text)
	}
	return n, nil
}

// compare looks at the etcd in use, if one answers: all of its members have to be restored.
// How each member is asked has to be known before, because it is asked in the end; only an
// etcd that does not run need not answer.
func (p *Prepared) compare(ctx context.Context, machines []*machine, r Request) (stops []string) {
	var given []string
	for _, m := range machines {
		given = append(given, m.member.Name)
	}
	var members []string
	for _, m := range machines {
		a, err := m.reach(ctx, m.member)
		if err != nil {
			stops = append(stops, fmt.Sprintf("machine %s: how its etcd is asked cannot be found out, which has to be done in the end: %v", m.member.Node, err))
			continue
		}
		found, revision, err := a.Members(ctx)
		if err != nil {
			running, runErr := m.running(ctx)
			if errors.Is(err, host.ErrNoForwarding) || !r.Broken && runErr == nil && running[etcdName] {
				stops = append(stops, fmt.Sprintf("machine %s: etcd runs there and cannot be asked, which has to be done in the end (--etcd-is-broken, if that is what is to be mended): %v",
					m.member.Node, err))
			}
			continue
		}
		members, p.Live, p.LiveMembers = found, max(p.Live, revision), len(found)
	}
	for _, member := range members {
		if !slices.Contains(given, member) {
			stops = append(stops, fmt.Sprintf("etcd has a member %q on a machine that was not named: all members are restored together", member))
		}
	}
	p.warn(given, members, r)
	if r.DataDir != "" && slices.ContainsFunc(machines, func(m *machine) bool { return m.member.Method == run.StaticPods }) {
		p.Warnings = append(p.Warnings, "kubeadm knows the old data directory: set etcd.local.dataDir in the ConfigMap kubeadm-config to "+r.DataDir+", or its next upgrade of etcd goes back to the old one")
	}
	return stops
}

// warn tells what somebody should know who is asked.
func (p *Prepared) warn(given, members []string, r Request) {
	warn := func(format string, args ...any) { p.Warnings = append(p.Warnings, fmt.Sprintf(format, args...)) }
	if p.LiveMembers == 0 {
		warn("etcd does not answer: nobody can say whether it has more members than the %d named", len(given))
	}
	if p.LiveMembers == 0 && len(r.Snapshot.Members) > len(given) {
		var names []string
		for _, m := range r.Snapshot.Members {
			names = append(names, m.Name)
		}
		warn("when the snapshot was taken there were more members: %s", strings.Join(names, ", "))
	}
	for _, name := range given {
		if p.LiveMembers > 0 && !slices.Contains(members, name) {
			warn("%q is no member of the etcd that answers: its data is replaced, too", name)
		}
	}
	if r.ClusterUID == "" {
		warn("the API server does not answer: nobody has compared whether the snapshot is of this cluster, or whether another run is at work")
	}
	if p.Live > r.Snapshot.Revision {
		warn("the snapshot is of revision %d, and etcd is at %d: what was written since then is lost", r.Snapshot.Revision, p.Live)
	}
}

// epoch is before any cluster that is still there.
var epoch = time.Date(2020, time.January, 1, 0, 0, 0, 0, time.UTC)

// mostChanges is more than a cluster writes in a second, all its life.
const mostChanges = 100_000

// bump is what is added to the revision of a snapshot, so that it is well above every one
// that a client has seen: that of the etcd in use, or, if that does not answer (0), what any
// cluster can have come to by now. That stays below 2^53, and grows with each restore.
func bump(live, snapshot int64, now time.Time) uint64 {
	above := live - snapshot
	if live == 0 {
		above = int64(now.Sub(epoch).Seconds()) * mostChanges
	}
	return DefaultBump + uint64(max(above, 0)) //nolint:gosec // not negative
}
