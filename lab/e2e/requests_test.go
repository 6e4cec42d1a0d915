// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"refit.dev/refit/lab"
)

const (
	// askEvery is how long to wait between two requests.
	askEvery = 50 * time.Millisecond
	// patience is how long an answer may take: nobody's client waits for ever.
	patience = 10 * time.Second
	// balancedPatience is it where a balancer has other servers to ask.
	balancedPatience = 5 * time.Second
)

// asking asks for something again and again.
type asking struct {
	stop context.CancelFunc
	done sync.WaitGroup

	mu     sync.Mutex
	count  int
	failed []string
	// row is how many of the last requests failed one after the other, rowMost the most.
	row, rowMost int
	// away is for how long there was no answer, all in all and at once at most.
	away, longest time.Duration
	since         time.Time // when the last answer came, while there is none
}

// ask asks until the test or stop ends it.
func ask(t *testing.T, what string, once func(context.Context) error) *asking {
	ctx, cancel := context.WithCancel(t.Context())
	a := &asking{stop: cancel}
	a.done.Go(func() {
		tick := time.NewTicker(askEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			begun := time.Now()
			limited, cancel := context.WithTimeout(ctx, patience)
			err := once(limited)
			cancel()
			if ctx.Err() != nil {
				return
			}
			a.note(what, begun, err)
		}
	})
	t.Cleanup(func() { a.end() })
	return a
}

func (a *asking) note(what string, begun time.Time, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.count++
	if err != nil {
		a.row++
		a.rowMost = max(a.rowMost, a.row)
		a.failed = append(a.failed, fmt.Sprintf("%s %s: %v", begun.UTC().Format("15:04:05.000"), what, err))
		if a.since.IsZero() {
			a.since = begun
		}
		return
	}
	a.row = 0
	if !a.since.IsZero() {
		took := time.Since(a.since)
		a.away, a.longest, a.since = a.away+took, max(a.longest, took), time.Time{}
	}
}

// end stops asking.
func (a *asking) end() {
	a.stop()
	a.done.Wait()
}

// wantAll ends it, and wants that every request was answered.
func (a *asking) wantAll(t *testing.T, what string) {
	t.Helper()
	a.end()
	t.Logf("%s: %d requests, %d failed", what, a.count, len(a.failed))
	if a.count == 0 || len(a.failed) > 0 {
		t.Errorf("%s: %d of %d requests failed:\n%s", what, len(a.failed), a.count, strings.Join(a.failed[:min(20, len(a.failed))], "\n"))
	}
}

// wantAgain ends it, and wants that whoever had no answer had one at the next try: the kubelet
// of another minor ends an API server within two seconds, whatever is asked of it then, and one whose
// own etcd is away holds on to its requests until the balancer has noticed.
func (a *asking) wantAgain(t *testing.T, what string) {
	t.Helper()
	a.end()
	t.Logf("%s: %d requests, %d failed, %d in a row at most", what, a.count, len(a.failed), a.rowMost)
	if a.count == 0 || a.rowMost > 1 {
		t.Errorf("%s: %d of %d requests failed:\n%s", what, len(a.failed), a.count, strings.Join(a.failed[:min(20, len(a.failed))], "\n"))
	}
}

// service asks the Service that has a pod on each worker, on a new connection each time,
// through a machine.
func service(t *testing.T, l *lab.Lab, name string) *asking {
	machines := l.Nodes()
	through := machines[slices.IndexFunc(machines, func(m lab.Machine) bool { return m.Name == name })]
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	return ask(t, "through "+name, func(ctx context.Context) error { return answered(ctx, client, l.AnswerURL(through)) })
}

// answered is nil if there is an answer, and it is a good one.
func answered(ctx context.Context, client *http.Client, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = &statusError{response.Status, string(body)}
	}
	return err
}

// statusError is an answer that is not a good one.
type statusError struct{ status, body string }

func (e *statusError) Error() string { return e.status + ": " + e.body }

// api asks the API server of a lab, through the balancer if there is one, with the
// administrator's certificate: on one connection as long as it lasts, or on a new one
// for each request. limit is how long an answer may take.
func api(t *testing.T, l *lab.Lab, keep bool, limit time.Duration) *asking {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", l.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	trust, err := rest.TLSConfigFor(config)
	if err != nil {
		t.Fatal(err)
	}
	what := "the API, on a new connection"
	if keep {
		what = "the API, on a kept connection"
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: trust, DisableKeepAlives: !keep, ForceAttemptHTTP2: keep}}
	t.Cleanup(client.CloseIdleConnections)
	return ask(t, what, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		return answered(ctx, client, config.Host+"/api/v1/namespaces/kube-system")
	})
}
