// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package restore

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"refit.dev/refit/etcd"
	"refit.dev/refit/internal/hint"
	"refit.dev/refit/internal/phrase"
	"refit.dev/refit/run"
)

// BootstrapRequest is what the restore of a control plane onto an empty machine is asked for.
type BootstrapRequest struct {
	// Request has File, Snapshot, Server and Access, and one node: the name that the machine had.
	Request
	// Files are those of the control plane's machine that is gone, and Kubelet the version of its kubelet, "" if
	// that is not known.
	Files   []File
	Kubelet string
	// Keep is where on this machine the files are kept until the run is over; nothing may be there. Who asks removes it if
	// the run is not begun.
	Keep string
	// Strangers are paths of files in the set that no backup of a control plane has.
	Strangers []string
}

// PrepareBootstrap looks at a machine that is to become the control plane that was lost: it has to be
// empty, to have the same name and addresses, and the packages. Nothing is changed on it. The error is a
// *run.BlockedError if it cannot be that control plane, with all the reasons.
func (o *Operator) PrepareBootstrap(ctx context.Context, r BootstrapRequest) (*Prepared, error) {
	if len(r.Nodes) != 1 {
		return nil, &run.InputError{Err: fmt.Errorf("a set has the files of one machine: want one, and not %d; other control planes join it afterwards", len(r.Nodes))}
	}
	now, node := o.Clock.Now(), r.Nodes[0]
	member, err := memberOf(r.Files, node)
	if err != nil {
		return nil, err
	}
	files, err := layout(r.Files, member.Name, o.park(member), now)
	if err != nil {
		return nil, err
	}
	spec := &run.Spec{
		Run: run.NewID(now), Created: now.UTC(), Access: &r.Access, Nodes: []run.Target{{Name: node}},
		Restore: &run.Restore{
			File: r.File, Set: r.Set, SHA256: r.Snapshot.SHA256, Revision: r.Snapshot.Revision, Token: "refit-" + rand.Text(), BumpRevision: bump(0, r.Snapshot.Revision, now),
			Members: []run.Member{member},
		},
	}
	spec.Cluster.UID, spec.Cluster.Server = types.UID(r.Snapshot.ClusterUID), r.Server
	p := &Prepared{Spec: spec}
	reached, err := o.Reach(nodeOf(node), spec.Run)
	if err != nil {
		return nil, fmt.Errorf("machine %s: %w", node, err)
	}
	m := o.machine(reached, member, spec)
	stops, err := m.notThatOne(ctx, r, p)
	if err != nil {
		return nil, hint.Wrap(fmt.Errorf("machine %s: %w", node, err), "%s", cmp.Or(hint.Of(err), "nothing was changed"))
	}
	living := &run.Bootstrap{Members: others(r.Snapshot.Members, member.Name), Server: serverOf(content(r.Files, kubeletConfig))}
	if err := m.alone(ctx, living); err != nil {
		if !errors.As(err, new(*run.BlockedError)) {
			return nil, fmt.Errorf("machine %s: %w", node, err)
		}
		stops = append(stops, err.Error()+" ("+hint.Of(err)+")")
	}
	taken, err := m.untaken(ctx, &files, p)
	if err != nil {
		return nil, fmt.Errorf("machine %s: %w", node, err)
	}
	if len(taken) > 0 {
		stops = append(stops, "it is not empty, and has other files than the set: "+phrase.Few(taken, 5))
	}
	lacking, err := m.lacking(ctx, r.Files)
	if err != nil {
		return nil, fmt.Errorf("machine %s: %w", node, err)
	}
	stops = append(stops, lacking...)
	if len(r.Strangers) > 0 {
		stops = append(stops, "the set has files that no control plane needs, and no backup puts there: "+phrase.Few(r.Strangers, 5))
	}
	if old := expired(r.Files, now); len(old) > 0 {
		stops = append(stops, "certificates in the set are good no more: "+phrase.Few(old, 5))
	}
	if len(stops) > 0 {
		return nil, hint.Wrap(&run.BlockedError{Err: fmt.Errorf("machine %s cannot become the control plane that is in the set:\n  %s", node, strings.Join(stops, "\n  "))}, "nothing was changed")
	}
	if len(r.Snapshot.Members) > 1 {
		p.Warnings = append(p.Warnings, fmt.Sprintf("etcd had %s when the set was saved; it gets one, and other control planes have to join anew (kubeadm join --control-plane)", phrase.Count(len(r.Snapshot.Members), "member")))
	}
	missing, err := m.missing(ctx, files)
	if err != nil {
		return nil, fmt.Errorf("machine %s: %w", node, err)
	}
	ran, err := m.kubeletRuns(ctx)
	if err != nil {
		return nil, fmt.Errorf("machine %s: find out whether its kubelet runs: %w", node, err)
	}
	kept, err := writeFiles(r.Keep, files)
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		p.Files = append(p.Files, f.Path)
	}
	kept.Missing, kept.KubeletRan, kept.Members, kept.Server = missing, ran, living.Members, living.Server
	spec.Restore.Bootstrap = kept
	return p, nil
}

// notThatOne says why a machine cannot become the one in the set, and warns of what is other than there.
func (m *machine) notThatOne(ctx context.Context, r BootstrapRequest, p *Prepared) (stops []string, err error) {
	stop := func(format string, args ...any) { stops = append(stops, fmt.Sprintf(format, args...)) }
	holder, err := m.claimed(ctx)
	if err != nil {
		return nil, err
	}
	if holder != "" {
		stop("run %s has begun to restore it, and was neither finished nor aborted (refit runs resume %s, or abort)", holder, holder)
	}
	some, err := m.content(ctx)
	if err != nil {
		return nil, err
	}
	for _, what := range some {
		stop("it is not empty: %s", what)
	}
	if some, err := m.runningOf(ctx); err != nil {
		stop("%v", err)
	} else if some != "" {
		stop("%s", some)
	}
	version, err := m.kubeletVersion(ctx)
	if err != nil {
		return nil, err
	}
	switch {
	case version == "":
		stop("it has no kubelet: install the packages of %s", cmp.Or(r.Kubelet, "the version that the cluster had"))
	case r.Kubelet == "":
		p.Warnings = append(p.Warnings, fmt.Sprintf("the set does not tell the version of its kubelet; the machine has %s", version))
	case minorOf(version) != minorOf(r.Kubelet):
		stop("its kubelet is %s, and was %s", version, r.Kubelet)
	case version != r.Kubelet:
		p.Warnings = append(p.Warnings, fmt.Sprintf("its kubelet is %s, and was %s", version, r.Kubelet))
	}
	more, err := m.otherIdentity(ctx, r)
	if err != nil {
		return nil, err
	}
	stops = append(stops, more...)
	free, err := m.free(ctx, "/var/lib")
	if err != nil {
		return nil, err
	}
	if need := r.Snapshot.TotalSize + etcd.LogSpace; free < need {
		stop("/var/lib has %d MiB of free disk, and the restored data takes %d MiB", free>>20, need>>20)
	}
	return stops, nil
}

// minorOf is v1.37 of v1.37.2.
func minorOf(version string) string {
	parts := strings.SplitN(version, ".", 3)
	return strings.Join(parts[:min(2, len(parts))], ".")
}

// firstIn is something in a directory, "" if there is nothing, or no directory.
func (m *machine) firstIn(ctx context.Context, dir string) (string, error) {
	if there, err := m.exists(ctx, dir); err != nil || !there {
		return "", err
	}
	text, err := m.text(ctx, "find", dir, "-mindepth", "1", "-maxdepth", "1", "!", "-name", "lost+found", "!", "-name", ".kubelet-keep", "-print", "-quit")
	return strings.TrimSpace(text), err
}

// own tells a machine may have otherwise than the one that is gone: settings of its kubelet.
func own(p string) bool {
	return slices.Contains([]string{"/etc/default/kubelet", "/etc/sysconfig/kubelet"}, p) || strings.HasPrefix(p, "/etc/systemd/system/")
}

// untaken takes out of files what is on the machine as it should be, or is its own business, and returns what is
// there otherwise.
func (m *machine) untaken(ctx context.Context, files *[]File, p *Prepared) (taken []string, err error) {
	var absent []File
	for _, f := range *files {
		same, there, err := m.compareFile(ctx, f)
		switch {
		case err != nil:
			return nil, err
		case !there:
			absent = append(absent, f)
		case same:
		case own(f.Path):
			p.Warnings = append(p.Warnings, fmt.Sprintf("%s is other than in the set, and stays as it is", f.Path))
		default:
			taken = append(taken, f.Path)
		}
	}
	*files = absent
	return taken, nil
}

// otherIdentity says in what the machine is another one: by name, or address.
func (m *machine) otherIdentity(ctx context.Context, r BootstrapRequest) (stops []string, err error) {
	name, err := m.text(ctx, "uname", "-n")
	if err != nil {
		return nil, err
	}
	name = strings.ToLower(strings.TrimSpace(name))
	override := strings.Contains(string(content(r.Files, "/var/lib/kubelet/kubeadm-flags.env")), "--hostname-override")
	if want := m.member.Name; name != want && !override {
		stops = append(stops, fmt.Sprintf("it is called %s, and the one in the set %s: the certificates, etcd's member and the Node have that name (hostnamectl set-hostname %s)", name, want, want))
	}
	addresses, err := m.addresses(ctx)
	if err != nil {
		return nil, err
	}
	for _, want := range m.wantedAddresses(r.Files) {
		if !slices.Contains(addresses, want) {
			stops = append(stops, fmt.Sprintf("it does not have the address %s, which is in the manifests of the set%s; it has %s", want.String(), covered(r.Files, addresses), phrase.Few(texts(addresses), 5)))
		}
	}
	return stops, nil
}
