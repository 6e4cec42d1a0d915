// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/utils/clock"

	"refit.dev/refit/etcd"
	"refit.dev/refit/internal/hint"
	"refit.dev/refit/internal/phrase"
	"refit.dev/refit/internal/statedir"
	"refit.dev/refit/report"
	"refit.dev/refit/vault"
)

// setFlags are those of backup save that are about sets.
type setFlags struct {
	to          string
	store       storeFlags
	write       writeFlags
	read        readFlags // for --verify
	verify      bool
	full        bool
	sameCluster bool
	fullEvery   time.Duration
	scratch     string
	metricsFile string
}

// fullEvery is how old a full is at most that deltas are made of: whatever happens to it happens
// to them.
const fullEvery = 7 * 24 * time.Hour

func (f *setFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.to, "to", "", "save a set to this store, see below")
	f.store.add(flags)
	f.write.add(flags)
	f.read.addIdentity(flags)
	flags.BoolVar(&f.verify, "verify", false, "prove at once that what was saved can be restored; a set that is encrypted takes --identity")
	flags.BoolVar(&f.full, "full", false, "save a full, never a delta")
	flags.BoolVar(&f.sameCluster, "same-cluster", false, "the sets in the store are of this cluster, where nothing is known of both that tells: once, after a restore")
	flags.DurationVar(&f.fullEvery, "full-every", fullEvery, "save a full when the last one is as old")
	flags.StringVar(&f.scratch, "scratch-dir", "", "put the snapshot here while it is being packed (default the system's for temporary files)")
	flags.StringVar(&f.metricsFile, "metrics-file", "", "write when the last set was saved and proven to this file, for the textfile collector of node_exporter")
}

// onlySets are the flags that mean nothing without --to.
func onlySets() []string {
	return []string{"recipient", "recipients-file", "plaintext", "sign-key", "full", "full-every", "same-cluster", "metrics-file", "stall-timeout", "identity"}
}

// check says what does not go together.
func (f *setFlags) check(flags *pflag.FlagSet, args []string) error {
	switch {
	case f.to == "" && len(args) == 0:
		return hint.Wrap(errors.New("nothing says where to save to"), "name a FILE, or a store with --to URL")
	case f.to != "" && len(args) > 0:
		return fmt.Errorf("a FILE (%s) and --to exclude each other", args[0])
	case f.to == "" && vault.IsURL(args[0]):
		return hint.Wrap(fmt.Errorf("%s is no path of a file", args[0]), "--to %s saves a set to a store", args[0])
	}
	if f.to == "" {
		for _, name := range onlySets() {
			if flags.Changed(name) {
				return fmt.Errorf("--%s is for sets, which go to a store: --to URL", name)
			}
		}
	}
	return nil
}

// taker prepares everything that can be wrong with the flags, and opens the store. It has to be closed.
func (a *app) taker(ctx context.Context, f *setFlags) (*vault.Taker, error) {
	where, err := vault.ParseStore(f.to)
	if err != nil {
		return nil, usageError(err)
	}
	t := &vault.Taker{Refit: version(), Full: f.full, FullEvery: f.fullEvery, Scratch: f.scratch, SameCluster: f.sameCluster}
	if t.To, err = f.write.to(); err != nil {
		return nil, err
	}
	if t.Sign, err = f.write.signer(); err != nil {
		return nil, err
	}
	if f.verify && !t.To.None() && len(f.read.identities) == 0 {
		return nil, usageError(hint.Wrap(errors.New("--verify cannot read a set that is encrypted to others"), "give a private key with --identity, or run refit backup verify where there is one"))
	}
	if t.Indexes, err = statedir.Path("pages", where.ID(), "."); err != nil {
		return nil, err
	}
	if t.Worker, err = worker(); err != nil {
		return nil, err
	}
	t.Store, err = f.store.open(ctx, where, true)
	return t, err
}

// saveSet saves a set, and proves it if asked.
func (a *app) saveSet(ctx context.Context, reach *etcdFlags, f *setFlags) (err error) {
	keys, err := f.read.keys()
	if err != nil {
		return err
	}
	t, err := a.taker(ctx, f)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.Store.Close()) }()
	reached, err := a.etcd(ctx, reach)
	if err != nil {
		return backupError(ctx, err)
	}
	defer reached.close()
	t.Etcd = etcd.Saver{Access: reached.Access, Worker: t.Worker, Clock: clock.RealClock{}, Progress: a.savedSoFar()}
	if t.Machine, t.Name = reached.machine, reached.name; t.Machine == nil {
		a.say("warning: no machine of the control plane is reached this way, so that the set has the snapshot alone, without keys and configuration")
	}
	taken, err := t.Take(ctx)
	if err != nil {
		return setError(ctx, err)
	}
	if t.Machine != nil && taken.Source.Machine != "" && len(taken.Files) == 0 {
		a.say("warning: machine " + oneLine(t.Name) + " has none of the files that a control plane has, so that the set has the snapshot alone")
	}
	saved := savedSet{Taken: taken}
	if f.verify {
		p := vault.Prover{Reader: vault.Reader{Store: t.Store, By: keys, Trust: t.Sign.Verifier(), Scratch: f.scratch}, Worker: t.Worker, Sign: t.Sign, Refit: version()}
		if saved.Proof, _, err = p.Prove(ctx, taken.Name); err != nil {
			return setError(ctx, hint.Wrap(fmt.Errorf("set %s is saved and not proven: %w", taken.Name, err), "%s", hint.Of(err)))
		}
		a.noteSet(taken.Location, taken.Manifest, saved.Proof)
	}
	if f.metricsFile != "" {
		if err := t.Store.WriteMetrics(ctx, f.metricsFile); err != nil {
			return setError(ctx, err)
		}
	}
	if a.output != "text" {
		return report.WriteData(a.Out, a.output, saved)
	}
	return saved.write(a.Out)
}

// savedSet is what is told of a set that was saved.
type savedSet struct {
	*vault.Taken
	Proof *vault.Proof `json:"proof,omitempty"`
}

func (s savedSet) write(w io.Writer) error {
	kind := "a full"
	switch {
	case s.Base != nil:
		kind = "a delta of " + s.Base.Name
	case s.Why != "":
		kind += " (" + s.Why + ")"
	}
	machine := ""
	if s.Source.Machine != "" {
		machine = fmt.Sprintf(", and %s of %s", phrase.Count(len(s.Files), "file"), oneLine(s.Source.Machine))
	}
	fmt.Fprintf(w, "saved %s, %s\n%s at revision %d from member %s (%s, etcd %s)%s; %s stored, %s; took %s\n",
		report.Printable(s.Location), kind, size(s.Snapshot.Bytes), s.Snapshot.Revision, oneLine(s.Source.Member), oneLine(s.Source.Endpoint), oneLine(s.Versions.Etcd), machine,
		size(s.StoredBytes), encryption(s.Manifest), s.Took.Round(10*time.Millisecond))
	if s.Proof == nil {
		return nil
	}
	return writeSetProof(w, s.Manifest, s.Proof)
}

func encryption(m *vault.Manifest) string {
	if !m.Encrypted() {
		return "not encrypted"
	}
	return "encrypted to " + phrase.Count(len(m.Recipients), "recipient")
}
