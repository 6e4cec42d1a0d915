// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/url"
	"runtime"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	clocktesting "k8s.io/utils/clock/testing"

	"refit.dev/refit/drain"
)

func TestTransient(t *testing.T) {
	nodes := corev1.Resource("nodes")
	for want, errs := range map[bool][]error{
		true: {
			apierrors.NewServiceUnavailable("starting"), apierrors.NewInternalError(errors.New("etcd")), apierrors.NewTimeoutError("slow", 1),
			apierrors.NewServerTimeout(nodes, "get", 1), apierrors.NewTooManyRequests("busy", 1), context.DeadlineExceeded,
			&url.Error{Op: "Get", URL: "https://server", Err: io.ErrUnexpectedEOF},
			fmt.Errorf("unexpected error when reading response body. Please retry. Original error: %w", io.ErrUnexpectedEOF),
			fmt.Errorf("look at node a: %w", apierrors.NewServiceUnavailable("starting")),
		},
		false: {
			apierrors.NewForbidden(nodes, "a", errors.New("no")), apierrors.NewUnauthorized("who"), apierrors.NewNotFound(nodes, "a"),
			apierrors.NewConflict(nodes, "a", errors.New("changed")), apierrors.NewBadRequest("what"), drain.ErrNodeReplaced, errLockLost,
			errors.New("anything else"), &url.Error{Op: "Get", URL: "https://server", Err: x509.UnknownAuthorityError{}},
		},
	} {
		for _, err := range errs {
			if got := transient(err); got != want {
				t.Errorf("%v: got %t", err, got)
			}
		}
	}
}

func TestRetryGivesUp(t *testing.T) {
	clk := clocktesting.NewFakeClock(testTime)
	done := make(chan error, 1)
	calls := 0
	go func() {
		done <- retry(t.Context(), clk, time.Minute, func(context.Context) error { calls++; return apierrors.NewServiceUnavailable("starting") })
	}()
	for {
		select {
		case err := <-done:
			if _, unreachable := errors.AsType[*unreachableError](err); !unreachable || !apierrors.IsServiceUnavailable(err) {
				t.Errorf("got %v", err)
			}
			if calls < 5 || calls > 40 {
				t.Errorf("%d calls in a minute", calls)
			}
			return
		default:
		}
		if clk.HasWaiters() {
			clk.Step(time.Second)
		}
		runtime.Gosched()
	}
}

// A request that was sent is not cut off, so that it is known what became of it.
func TestRetryIsInterruptedBetweenRequests(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("enough")
	calls := 0
	err := retry(ctx, clocktesting.NewFakeClock(testTime), time.Minute, func(call context.Context) error {
		calls++
		cancel(stop)
		if call.Err() != nil {
			t.Error("the request was cut off")
		}
		return apierrors.NewServiceUnavailable("starting")
	})
	if !errors.Is(err, stop) || calls != 1 {
		t.Errorf("%d calls, %v", calls, err)
	}
}

// An API server that has just started refuses everything for some seconds.
func TestRetryDoesNotBelieveOneDenial(t *testing.T) {
	no := apierrors.NewForbidden(corev1.Resource("nodes"), "a", errors.New("no"))
	for name, c := range map[string]struct {
		denials int
		want    func(error) bool
	}{
		"the server starts":   {4, func(err error) bool { return err == nil }},
		"it is really denied": {1 << 30, func(err error) bool { _, denied := errors.AsType[*deniedError](err); return denied }},
	} {
		t.Run(name, func(t *testing.T) {
			clk := clocktesting.NewFakeClock(testTime)
			calls := 0
			done := make(chan error, 1)
			go func() {
				done <- retry(t.Context(), clk, time.Hour, func(context.Context) error {
					if calls++; calls <= c.denials {
						return no
					}
					return nil
				})
			}()
			for {
				select {
				case err := <-done:
					if !c.want(err) || calls < 5 || clk.Since(testTime) > time.Minute {
						t.Errorf("after %d calls and %s: %v", calls, clk.Since(testTime), err)
					}
					return
				default:
				}
				if clk.HasWaiters() {
					clk.Step(100 * time.Millisecond)
				}
				runtime.Gosched()
			}
		})
	}
}
