// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"k8s.io/utils/clock"

	"refit.dev/refit/etcd"
	"refit.dev/refit/internal/phrase"
	"refit.dev/refit/report"
	"refit.dev/refit/restore"
	"refit.dev/refit/vault"
	"refit.dev/refit/vault/seal"
)

// setError gives an error of package vault its exit code.
func setError(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return exitWith(exitUnfinished, err)
	case errors.Is(err, vault.ErrNotFound), errors.Is(err, seal.ErrNoKey), errors.Is(err, vault.ErrOtherCluster), errors.Is(err, vault.ErrAhead):
		return usageError(err)
	case errors.Is(err, vault.ErrDamaged), errors.Is(err, vault.ErrUntrusted):
		return err
	}
	return backupError(ctx, err)
}

// setStatus is what is told of a set.
type setStatus struct {
	*vault.Manifest
	Location string       `json:"location"`
	Seal     *vault.Seal  `json:"seal"`
	Proof    *vault.Proof `json:"proof,omitempty"`
}

// statusOfSet tells what is known of a set without its keys.
func (a *app) statusOfSet(ctx context.Context, f *readFlags, set string) error {
	r, name, err := f.reader(ctx, set, "")
	if err != nil {
		return err
	}
	defer r.Store.Close()
	m, sealed, proof, err := r.Store.Status(ctx, name, r.Trust)
	if err != nil {
		return setError(ctx, err)
	}
	s := setStatus{m, r.Store.Where().Set(m.Name), sealed, proof}
	if a.output != "text" {
		return report.WriteData(a.Out, a.output, s)
	}
	return s.write(a.Out)
}

func (s setStatus) write(w io.Writer) error {
	fmt.Fprintf(w, "%x, %d, %d, %s, %s\n\n", s.Snapshot.Hash, s.Snapshot.Revision, s.Snapshot.TotalKeys, size(s.Snapshot.Bytes), oneLine(s.Versions.Storage))
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) { fmt.Fprintf(t, "%s\t%s\n", name, fmt.Sprintf(format, args...)) }
	row("set", "%s", report.Printable(s.Location))
	row("created", "%s, by refit %s", s.Created.Format(time.RFC3339), oneLine(s.Versions.Refit))
	kind := "a full"
	if s.Base != nil {
		kind = "a delta of " + s.Base.Name
	}
	row("kind", "%s; %s stored", kind, size(s.Stored()))
	row("cluster", "%s", or(oneLine(s.Cluster.UID), "unknown: the snapshot has no namespace kube-system that can be read without the cluster's keys"))
	row("versions", "Kubernetes %s, kubelet %s, etcd %s", or(oneLine(s.Versions.Kubernetes), "unknown"), or(oneLine(s.Versions.Kubelet), "unknown"), oneLine(s.Versions.Etcd))
	row("from", "member %s (%s)", oneLine(s.Source.Member), oneLine(s.Source.Endpoint))
	row("SHA-256", "%s", oneLine(s.Snapshot.SHA256))
	row("keys", "%d, %d of them objects of Kubernetes", s.Snapshot.Keys, s.Snapshot.Objects)
	row("HashKV", "%d", s.Snapshot.HashKV)
	row("members", "%s", listOr("none", s.Members, func(m etcd.Member) string { return m.Name + " (" + m.ID + ")" }))
	files := "none: the set has the snapshot alone"
	if len(s.Files) > 0 {
		files = fmt.Sprintf("%d of %s", len(s.Files), oneLine(s.Source.Machine))
	}
	row("files", "%s", files)
	to := "not encrypted"
	if s.Encrypted() {
		to = "to " + listOr("", s.Recipients, strings.TrimSpace)
	}
	row("encrypted", "%s", to)
	row("signed", "%s", or(oneLine(s.Seal.Key), "by nobody"))
	proven := "never"
	if s.Proof != nil {
		proven = fmt.Sprintf("%s, by refit %s: etcd %s served revision %d, %d keys", s.Proof.Proven.Format(time.RFC3339), oneLine(s.Proof.Refit), oneLine(s.Proof.Etcd), s.Proof.Revision, s.Proof.Keys)
	}
	row("proven", "%s", proven)
	if err := t.Flush(); err != nil {
		return err
	}
	return writeResources(w, s.Resources)
}

func or(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

// verifySet proves a set.
func (a *app) verifySet(ctx context.Context, f *verifyFlags, set string) error {
	r, name, err := f.read.reader(ctx, set, f.scratch)
	if err != nil {
		return err
	}
	defer r.Store.Close()
	p := vault.Prover{Reader: *r, Refit: version()}
	if p.Sign, err = f.write.signer(); err != nil {
		return err
	}
	if p.Worker, err = worker(); err != nil {
		return err
	}
	p.Stays = a.signedProofStays
	if f.bootAPI {
		p.Serve = func(ctx context.Context, file, scratch string, status *etcd.Status) (*etcd.Served, error) {
			return restore.Serve(ctx, clock.RealClock{}, p.Worker, file, scratch, status)
		}
	}
	proof, m, err := p.Prove(ctx, name)
	if err != nil {
		return setError(ctx, err)
	}
	a.noteSet(r.Store.Where().Set(m.Name), m, proof)
	if f.metricsFile != "" {
		if err := r.Store.WriteMetrics(ctx, f.metricsFile); err != nil {
			return setError(ctx, err)
		}
	}
	if a.output != "text" {
		return report.WriteData(a.Out, a.output, proof)
	}
	return writeSetProof(a.Out, m, proof)
}

// signedProofStays tells that a proof is not written down.
func (a *app) signedProofStays(before *vault.Proof) {
	a.say("warning: the store keeps the signed proof of " + before.Proven.Format(time.RFC3339) + ", since this one is not signed like the set: --sign-key has it written down")
}

func writeSetProof(w io.Writer, m *vault.Manifest, p *vault.Proof) error {
	_, err := fmt.Fprintf(w, "set %s is proven\n\n"+
		"  whole      the snapshot and %s have the SHA-256 of the manifest; bbolt finds nothing wrong\n"+
		"  decoded    %d objects, %d of them decrypted; %d are encrypted, %d of types that this refit does not know\n"+
		"  restored   etcd %s serves it: revision %d, %d keys, HashKV %d, as in the manifest\n",
		m.Name, phrase.Count(p.Files, "file"), p.Decoded, p.Decrypted, p.Encrypted, p.Unknown, oneLine(p.Etcd), p.Revision, p.Keys, p.HashKV)
	if err == nil {
		err = writeServed(w, p.Served)
	}
	return err
}
