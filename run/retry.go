// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/utils/clock"

	"refit.dev/refit/host"
	"refit.dev/refit/internal/hint"
)

const (
	retryFirst = 200 * time.Millisecond
	retryMost  = 15 * time.Second
	// callLimit bounds one request, so that a connection that went dead is noticed.
	callLimit = 30 * time.Second
	// deniedPatience is how long a permission has to be missing before that is
	// believed: an API server that has just started refuses everything until it
	// knows its roles. Package cluster allows a watch about as long.
	deniedPatience = 15 * time.Second
)

// unreachableError says that the API server did not answer for as long as a run waits for it.
type unreachableError struct {
	patience time.Duration
	err      error
}

func (e *unreachableError) Error() string {
	who := "the API server"
	if host.Temporary(e.err) {
		who = "the machine"
	}
	return fmt.Sprintf("%s gave no useful answer for %s: %v", who, e.patience, e.err)
}
func (e *unreachableError) Unwrap() error { return e.err }

// deniedError says that the API server refuses to deal with these credentials.
type deniedError struct{ err error }

func (e *deniedError) Error() string { return e.err.Error() }
func (e *deniedError) Unwrap() error { return e.err }

// retry calls f, which sends a request or two, until it succeeds or there is no
// use in trying again: a permission that is missing is asked for again for a
// while, see deniedPatience. A request is not cut off when ctx ends, so that it is
// always known what became of it; but none is sent after that.
func retry(ctx context.Context, clk clock.WithTicker, patience time.Duration, f func(context.Context) error) error {
	backoff := wait.Backoff{Duration: retryFirst, Factor: 2, Jitter: 0.2, Steps: 1 << 20, Cap: retryMost}
	start := clk.Now()
	var denied time.Time // since when; zero: the last answer was another one
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		call, cancel := context.WithTimeout(context.WithoutCancel(ctx), callLimit)
		err := f(call)
		cancel()
		no := apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err)
		switch {
		case !no:
			denied = time.Time{}
		case denied.IsZero():
			denied = clk.Now()
		}
		switch {
		case err == nil:
			return nil
		case no && clk.Since(denied) < min(deniedPatience, patience):
		case no:
			return &deniedError{hint.Wrap(err, "see to it that this user has the permissions that refit needs, and resume the run")}
		case !transient(err):
			return err
		case clk.Since(start) >= patience:
			return &unreachableError{patience, err}
		}
		timer := clk.NewTimer(min(backoff.Step(), retryMost))
		select {
		case <-timer.C():
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		}
	}
}

// transient tells whether the same request may get another answer later: the
// server is busy, restarts, or cannot be reached.
func transient(err error) bool {
	if errors.Is(err, errLockLost) {
		return false
	}
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		code := int(status.Status().Code)
		return code == http.StatusTooManyRequests || code == http.StatusRequestTimeout || code >= http.StatusInternalServerError
	}
	var (
		authority x509.UnknownAuthorityError
		hostname  x509.HostnameError
		invalid   x509.CertificateInvalidError
	)
	if errors.As(err, &authority) || errors.As(err, &hostname) || errors.As(err, &invalid) {
		return false
	}
	if host.Temporary(err) { // a machine that is out of reach
		return true
	}
	var network interface{ Timeout() bool } // net.Error, *url.Error
	// An answer that broke off comes as it is, without the request around it.
	return errors.As(err, &network) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF)
}
