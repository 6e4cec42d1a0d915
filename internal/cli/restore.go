// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"refit.dev/refit/cluster"
	"refit.dev/refit/etcd"
	"refit.dev/refit/event"
	"refit.dev/refit/host/inventory"
	"refit.dev/refit/internal/hint"
	"refit.dev/refit/internal/phrase"
	"refit.dev/refit/report"
	"refit.dev/refit/restore"
	"refit.dev/refit/run"
	"refit.dev/refit/twin"
	"refit.dev/refit/vault"
)

// apiPatience is how long the API server has to answer what a restore would like to know
// of it, before it counts as away.
const apiPatience = 10 * time.Second

// restoreFlags are those of refit restore, as given.
type restoreFlags struct {
	machines     []string
	dataDir      string
	otherCluster bool
	broken       bool
	bootstrap    bool
	unsigned     bool
	reach        sshFlags
	set          readFlags
}

func newRestoreCommand(a *app) *cobra.Command {
	var f restoreFlags
	cmd := &cobra.Command{
		Use:   "restore FILE | SET",
		Short: "Put a snapshot of etcd, or that of a backup set, back under the control plane",
		Long: "Restore a snapshot on every machine of etcd: prove that it can be restored, make a data directory\n" +
			"of it for each member and lay it beside the one in use; stop all API servers, controller managers\n" +
			"and schedulers, then etcd; exchange the directories; start etcd, compare the members, and start\n" +
			"the rest again. The old data stays on the machines, renamed.\n\n" +
			"Works for control planes of kubeadm (static pods), for services of systemd (etcd.service,\n" +
			"kube-apiserver.service), and for twins. Machines are reached over SSH as refit upgrade does. Everything is\n" +
			"recorded on this machine before it is done: refit runs resume carries on after a crash, and\n" +
			"until etcd is started on the restored data refit runs abort puts everything back as it was.\n\n" +
			"A set (STORE/NAME, or STORE/latest) is fetched before, compared with its manifest, and decrypted into\n" +
			"the state directory, from where it is removed when the restore has come to its end. Its files of a\n" +
			"machine are left alone: refit backup fetch brings them.\n\n" +
			"With --bootstrap the control plane of kubeadm is gone, and the machine that --machines names is new: the same\n" +
			"name and addresses, the packages of Kubernetes and a container runtime, and nothing else. It gets the\n" +
			"files that are in the set as well, and its kubelet a new certificate, and is started. Nothing there is\n" +
			"replaced, and until etcd is started refit runs abort takes all of it away again. Other control planes\n" +
			"join it afterwards; worker nodes find it by themselves. The kubeconfig is that of the lost cluster. Where\n" +
			"somebody still answers, the API server or a member of etcd, nothing is done: it would be a second cluster.\n" +
			"Files of the set decide what runs as root there: --verify-key takes only a set that you have signed.",
		Example: "  # See what would be done, and be asked\n" +
			"  refit restore backup.db\n\n" +
			"  # The API server does not answer: say where the members of etcd are\n" +
			"  refit restore backup.db --machines cp1,cp2,cp3 --inventory machines.yaml\n\n" +
			"  # The newest set of a store\n" +
			"  refit restore s3://backups/prod/latest?region=eu-central-1 --identity key.txt\n\n" +
			"  # The control plane is lost, and there is a new machine in its place\n" +
			"  refit restore s3://backups/prod/latest?region=eu-central-1 --identity key.txt --verify-key sign.pub --bootstrap --machines cp1",
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error { return a.restore(cmd.Context(), args[0], f) },
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&f.machines, "machines", nil, "the nodes with the members of etcd, all of them (default: the control plane's, as the API server says)")
	flags.StringVar(&f.dataDir, "data-dir", "", "make new data directories here, and have etcd use them (default: exchange the content of those in use)")
	flags.BoolVar(&f.otherCluster, "other-cluster", false, "the snapshot may be of another cluster")
	flags.BoolVar(&f.broken, "etcd-is-broken", false, "an etcd that runs and does not answer is what is to be mended")
	flags.BoolVar(&f.bootstrap, "bootstrap", false, "the machine is new and empty: it gets keys, configuration and manifests from the set, and becomes the control plane that was lost")
	flags.BoolVar(&f.unsigned, "unsigned", false, "with --bootstrap and --yes: the set need not be signed, though its files decide what runs as root")
	f.reach.add(flags)
	f.set.add(flags)
	a.yesFlag(cmd)
	a.outputFlag(cmd, "text", "wide", "json", "yaml")
	return cmd
}

func (a *app) restore(ctx context.Context, file string, f restoreFlags) (err error) {
	access, err := f.reach.access()
	if err != nil {
		return usageError(err)
	}
	if f.dataDir != "" && (!filepath.IsAbs(f.dataDir) || filepath.Clean(f.dataDir) == "/") {
		return usageError(fmt.Errorf("--data-dir %q: want an absolute path of a directory to make", f.dataDir))
	}
	if f.dataDir != "" {
		f.dataDir = filepath.Clean(f.dataDir)
	}
	if err := f.checkBootstrap(file, a.yes); err != nil {
		return usageError(err)
	}
	begun, name := false, ""
	var set *fetched
	if vault.IsURL(file) {
		set, err = a.fetchForRestore(ctx, file, &f.set, f.bootstrap)
		if err != nil {
			return err
		}
		file, name = set.file, set.manifest.Name
		defer func() { err = errors.Join(err, a.release(set, begun, err)) }()
	}
	if file, err = filepath.Abs(file); err != nil {
		return usageError(err)
	}
	if _, err := os.Stat(file); err != nil {
		return usageError(hint.Wrap(err, "name the file of a snapshot of etcd"))
	}
	operator, reporter, err := a.operator()
	if err != nil {
		return err
	}
	outcome, err := func() (run.Outcome, error) {
		tw, err := a.ownTwin()
		if err != nil {
			return run.Outcome{}, err
		}
		if tw != nil && (len(f.machines) > 0 || f.dataDir != "") {
			return run.Outcome{}, usageError(fmt.Errorf("the kubeconfig leads to the twin %s: --machines and --data-dir are for other clusters", tw.Name()))
		}
		request := restore.Request{File: file, Set: name, DataDir: f.dataDir, OtherCluster: f.otherCluster, Broken: f.broken, Server: operator.Server, Access: *access}
		if tw != nil {
			request.Nodes = []string{tw.Name()}
		}
		if f.bootstrap {
			request.Nodes = f.machines
			err = a.nobodyAnswers(ctx, operator, tw)
		} else {
			err = a.completeRestore(ctx, operator, f.machines, &request)
		}
		if err != nil {
			return run.Outcome{}, err
		}
		if request.Snapshot, err = a.proveSnapshot(ctx, &request); err != nil {
			return run.Outcome{}, err
		}
		carrier, closing, err := a.restorer(operator, *access, tw)
		if err != nil {
			return run.Outcome{}, err
		}
		defer closing()
		prepared, err := func() (*restore.Prepared, error) {
			if f.bootstrap {
				return carrier.PrepareBootstrap(ctx, set.bootstrap(request))
			}
			return carrier.Prepare(ctx, request)
		}()
		if err != nil {
			return run.Outcome{}, err
		}
		if f.bootstrap && f.set.verifyKey == "" {
			prepared.Warnings = append(prepared.Warnings, "nobody's signature on the set was asked for (--verify-key): whoever may write to the store may have made it")
		}
		a.showRestore(prepared)
		if err := a.confirm(ctx); err != nil {
			return run.Outcome{}, err
		}
		begun = true
		return carrier.Begin(ctx, prepared.Spec)
	}()
	return outcomeError(ctx, outcome, errors.Join(err, reporter.Close()))
}

// completeRestore asks the API server, as far as it answers, which cluster it is and what
// nodes there are, unless those with etcd are known; named are those, if somebody has said so.
func (a *app) completeRestore(ctx context.Context, o *run.Operator, named []string, r *restore.Request) error {
	limited, cancel := context.WithTimeout(ctx, apiPatience)
	defer cancel()
	nodes, uid, err := a.lookAtCluster(limited, o)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.As(err, new(*run.LockedError)):
		return err
	case err != nil && answered(err):
		return fmt.Errorf("the API server does not tell which cluster it is: %w", err)
	case err != nil && len(named) == 0 && len(r.Nodes) == 0:
		return hint.Wrap(fmt.Errorf("find the machines of etcd: %w", err), "name them: --machines cp1,cp2,cp3")
	}
	r.ClusterUID = uid
	if len(r.Nodes) > 0 { // a twin, whose nodes are not what it runs on
		return nil
	}
	r.Nodes, r.Known = named, map[string]*corev1.Node{}
	for i, n := range nodes {
		controlPlane := cluster.ControlPlane(&nodes[i])
		switch {
		case slices.Contains(named, n.Name):
			r.Known[n.Name] = &nodes[i]
		case controlPlane && len(named) == 0:
			r.Nodes, r.Known[n.Name] = append(r.Nodes, n.Name), &nodes[i]
		case controlPlane:
			r.LeftOut = append(r.LeftOut, n.Name)
		default:
			r.Others = append(r.Others, n.Name)
		}
	}
	if len(r.Nodes) == 0 {
		return usageError(hint.Wrap(errors.New("no node has the label "+cluster.ControlPlaneLabel), "name the machines of etcd: --machines cp1,cp2,cp3"))
	}
	return nil
}

// answered tells whether an error is a refusal, by an API server that is well.
func answered(err error) bool {
	return apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) || apierrors.IsNotFound(err)
}

func (a *app) lookAtCluster(ctx context.Context, o *run.Operator) (nodes []corev1.Node, uid string, err error) {
	namespace, err := o.Client.CoreV1().Namespaces().Get(ctx, metav1.NamespaceSystem, metav1.GetOptions{})
	if err != nil {
		return nil, "", err
	}
	if err := o.Unlocked(ctx); err != nil {
		return nil, "", err
	}
	list, err := o.Client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, "", err
	}
	return list.Items, string(namespace.UID), nil
}

// proveSnapshot restores the snapshot here, and says what is in it.
func (a *app) proveSnapshot(ctx context.Context, r *restore.Request) (*etcd.Status, error) {
	a.say("proving that " + report.Printable(r.Source()) + " can be restored")
	w, err := worker()
	if err != nil {
		return nil, err
	}
	proof, err := w.Verify(ctx, r.File, "")
	switch {
	case errors.Is(err, etcd.ErrDamaged), errors.Is(err, etcd.ErrUnproven):
		return nil, exitWith(exitBlocked, hint.Wrap(err, "nothing was changed; take another snapshot"))
	case err != nil:
		return nil, backupError(ctx, err)
	}
	return proof.Status, nil
}

// restorer carries restores out: of a twin, or over SSH.
func (a *app) restorer(o *run.Operator, access inventory.Access, tw *twin.Twin) (r *restore.Operator, closing func(), err error) {
	w, err := worker()
	if err != nil {
		return nil, nil, err
	}
	r = &restore.Operator{
		Store: o.Store, Sink: o.Sink, Clock: o.Clock, Etcd: w, Ask: o.Ask, Twin: tw,
		Aftercare: func(ctx context.Context) ([]string, error) { return restore.Aftercare(ctx, o.Client, o.Clock) },
	}
	if tw != nil {
		r.Reach = restore.Here
		return r, func() {}, nil
	}
	machines, err := a.openMachines(access)
	if err != nil {
		return nil, nil, err
	}
	r.Reach = machines.Machine
	return r, func() { _ = machines.Close() }, nil
}

// showRestore tells what is about to happen.
func (a *app) showRestore(p *restore.Prepared) {
	r := p.Spec.Restore
	var members []string
	for _, m := range r.Members {
		where := "in " + m.DataDir
		if r.DataDir != "" {
			where = "in " + r.DataDir + " instead of " + m.DataDir
		}
		members = append(members, fmt.Sprintf("  %s  member %s, %s, %s", m.Node, m.Name, m.Method, where))
	}
	if r.Bootstrap != nil {
		a.showBootstrap(p)
		return
	}
	lines := []string{fmt.Sprintf("etcd will be restored to revision %d of %s on %s:", r.Revision, r.Source(), phrase.Count(len(members), "machine"))}
	lines = append(append(lines, members...), "the API server is away meanwhile, and what was written since the snapshot is lost")
	for _, l := range lines {
		a.say(report.Printable(l))
	}
	for _, w := range p.Warnings {
		a.say("warning: " + report.Printable(w))
	}
}

// carryRestore resumes or aborts a restore.
func (a *app) carryRestore(o *run.Operator, spec *run.Spec, do func(*restore.Operator) error) error {
	if o.Server != spec.Cluster.Server {
		return usageError(hint.Wrap(fmt.Errorf("run %s restores the cluster at %s, and this is the one at %s", spec.Run, spec.Cluster.Server, o.Server),
			"choose the kubeconfig or the context with which it was begun"))
	}
	tw, err := twinOf(spec)
	if err != nil {
		return err
	}
	carrier, closing, err := a.restorer(o, *spec.Access, tw)
	if err != nil {
		return err
	}
	defer closing()
	if err := do(carrier); err != nil {
		return err
	}
	return releaseRestored(spec.Restore.File)
}

// twinOf is the twin that a run restores, or nil.
func twinOf(spec *run.Spec) (*twin.Twin, error) {
	if m := spec.Restore.Members[0]; m.Method == run.Embedded {
		return twin.OpenDir(m.File)
	}
	return nil, nil
}

// restoreAborted tells of a restore that was given up.
func (a *app) restoreAborted(o *run.Operator, id string) {
	message := fmt.Sprintf("run %s is aborted; everything is as it was", id)
	if a.output == "text" {
		fmt.Fprintln(a.ErrOut, message)
	}
	o.Sink.Emit(event.Event{Time: o.Clock.Now(), Type: event.Summary, Run: id, Result: event.ResultDone, Message: message})
}
