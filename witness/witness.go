// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package witness

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
)

// Options say what to watch.
type Options struct {
	// Config is a client that may list and watch nodes, pods, budgets and workloads.
	Config *rest.Config
	// AuditLog is the path of the API server's log: audit.k8s.io/v1, one JSON
	// object a line, with evictions and deletions of pods at level RequestResponse.
	AuditLog string
	// ControlPlane are users and groups whose deletions are no voluntary
	// disruptions, besides those of Kubernetes itself.
	ControlPlane []string
	// Clock says when something was seen; nil is the real one.
	Clock clock.WithTicker
}

// Witness watches from Start to Judge.
type Witness struct {
	clock   clock.WithTicker
	started time.Time
	streams []*stream
	audit   *auditLog
	stop    context.CancelFunc
	watches *errgroup.Group
}

// How long Judge waits for what must come: for the watches to reach the present,
// and for the audit log's line of a request that was answered.
const (
	watchDeadline = time.Minute
	auditDeadline = 10 * time.Second
)

// Start begins to watch. When it returns, nothing that happens escapes the
// witness; it watches until Judge or Close.
func Start(ctx context.Context, o Options) (*Witness, error) {
	config := rest.CopyConfig(o.Config)
	config.QPS, config.UserAgent = -1, "refit-witness"
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("witness: make a client: %w", err)
	}
	audit, err := openAudit(o.AuditLog, func(user string, groups []string) bool {
		return controlPlane(user) || slices.Contains(o.ControlPlane, user) ||
			slices.ContainsFunc(groups, func(g string) bool { return slices.Contains(o.ControlPlane, g) })
	})
	if err != nil {
		return nil, fmt.Errorf("witness: %w", err)
	}
	w := &Witness{audit: audit, clock: o.Clock}
	if w.clock == nil {
		w.clock = clock.RealClock{}
	}
	for _, k := range kinds(client) {
		s, err := open(ctx, k, w.clock)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("witness: %w", err), audit.file.Close())
		}
		w.streams = append(w.streams, s)
	}
	w.started = w.clock.Now()
	watching, stop := context.WithCancel(context.WithoutCancel(ctx))
	w.stop, w.watches = stop, &errgroup.Group{}
	for _, s := range w.streams {
		w.watches.Go(func() error { return s.follow(watching) })
	}
	return w, nil
}

// controlPlane tells whether a user is a part of Kubernetes.
func controlPlane(user string) bool {
	for _, prefix := range []string{"system:kube-", "system:node:", "system:serviceaccount:kube-system:"} {
		if strings.HasPrefix(user, prefix) {
			return true
		}
	}
	return user == "system:apiserver"
}

// Close ends watching without a verdict.
func (w *Witness) Close() error {
	w.stop()
	return errors.Join(w.watches.Wait(), w.audit.file.Close())
}

// Judge ends watching and returns the verdict about all that happened between
// Start and its call. An error means that there is no verdict, see the package's
// documentation; its text says what the witness did not see.
func (w *Witness) Judge(ctx context.Context) (*Verdict, error) {
	v, err := w.judge(ctx)
	if err != nil {
		return nil, fmt.Errorf("the witness cannot give a verdict: %w", err)
	}
	return v, nil
}

func (w *Witness) judge(ctx context.Context) (*Verdict, error) {
	if err := w.endWatches(); err != nil {
		return nil, errors.Join(err, w.audit.file.Close())
	}
	defer w.audit.file.Close()
	revision, err := w.complete(ctx)
	if err != nil {
		return nil, err
	}
	ledgers := make([]*ledger, len(w.streams))
	for i, s := range w.streams {
		ledgers[i] = s.ledger
	}
	r, err := play(ledgers, w.started, revision)
	if err != nil {
		return nil, err
	}
	by, err := w.blame(ctx, r)
	if err != nil {
		return nil, err
	}
	return r.judge(by, w.audit.asks)
}

func (w *Witness) endWatches() error {
	w.stop()
	return w.watches.Wait()
}

// complete brings every stream to its end and checks it there. It returns the
// revision up to which all of them are known.
func (w *Witness) complete(ctx context.Context) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, watchDeadline)
	defer cancel()
	type end struct {
		revision uint64
		objects  []metav1.Object
	}
	ends := make([]end, len(w.streams))
	upTo := uint64(math.MaxUint64)
	for i, s := range w.streams {
		objects, revision, err := s.objects(ctx)
		if err != nil {
			return 0, err
		}
		ends[i] = end{revision, objects}
		upTo = min(upTo, revision)
	}
	group, ctx := errgroup.WithContext(ctx)
	for i, s := range w.streams {
		group.Go(func() error {
			if err := s.catchUp(ctx, ends[i].revision); err != nil {
				return err
			}
			return s.compare(ends[i].revision, ends[i].objects)
		})
	}
	return upTo, group.Wait()
}

// blame reads the audit log until it explains every disruption. The line of a
// request may be written a moment after others have seen what it did: a kubelet's,
// which follows it, explains nothing.
func (w *Witness) blame(ctx context.Context, r *replay) (map[*disruption]*ask, error) {
	ctx, cancel := context.WithTimeout(ctx, auditDeadline)
	defer cancel()
	poll := w.clock.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	for {
		if err := w.audit.read(); err != nil {
			return nil, err
		}
		by, open := explain(r.disruptions, w.audit.asks)
		if len(open) == 0 {
			return by, r.contradictions(w.audit.asks)
		}
		select {
		case <-ctx.Done():
			d := open[0]
			return nil, fmt.Errorf("%d pods ended and the audit log does not say why, the first of them %s at %s",
				len(open), name(d.pod), d.time.Format(time.RFC3339))
		case <-poll.C():
		}
	}
}
