// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package release

import (
	"context"
	"errors"
	"fmt"
	"io"

	"k8s.io/utils/clock"
)

// stream is what a server sends; reading it ends with an error once nothing has come for answerLimit.
type stream struct {
	io.ReadCloser
	timer clock.Timer
	why   func() error // why it was ended; nil: it was not
	stop  context.CancelCauseFunc
}

// lively returns the body of a request that is made with ctx, which stop ends.
func lively(ctx context.Context, from io.ReadCloser, stop context.CancelCauseFunc) *stream {
	timer := clock.RealClock{}.AfterFunc(answerLimit, func() {
		stop(fmt.Errorf("nothing has come for %s", answerLimit))
	})
	return &stream{ReadCloser: from, timer: timer, stop: stop, why: func() error { return context.Cause(ctx) }}
}

// Read is that of the body. Only the time that it takes counts.
func (b *stream) Read(p []byte) (int, error) {
	b.timer.Reset(answerLimit)
	n, err := b.ReadCloser.Read(p)
	b.timer.Stop()
	if why := b.why(); err != nil && !errors.Is(err, io.EOF) && why != nil {
		err = why
	}
	return n, err
}

// Close ends the request.
func (b *stream) Close() error {
	b.timer.Stop()
	err := b.ReadCloser.Close()
	b.stop(nil)
	return err
}
