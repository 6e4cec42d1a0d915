// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package drain

import (
	"errors"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"refit.dev/refit/event"
)

// An API server that was restarted refuses everything until it knows its roles.
func TestDenialByAServerThatStarts(t *testing.T) {
	no := apierrors.NewForbidden(corev1.Resource("pods"), "a", errors.New(`User "u" cannot create resource "pods/eviction"`))
	for name, forGood := range map[string]bool{"it starts": false, "the permission was taken away": true} {
		t.Run(name, func(t *testing.T) {
			x := newWorld(t, node("n1"), pod("a", "n1"))
			x.answer("shop/a", func(n int) error {
				switch {
				case n == 1:
					return errors.New("connection refused")
				case n < deniedPatience || forGood:
					return no
				}
				return nil
			})
			done := x.drain(t.Context(), x.drainer(), "n1")
			x.untilBlocked("shop/a", event.CauseError)
			for asked := 1; asked < deniedPatience; asked++ {
				x.step(lastRest)
				x.until("it to be asked for again", func() bool { return x.timesAsked("shop/a") > asked })
			}
			if forGood {
				x.step(lastRest)
			}
			switch got := x.wait(done); {
			case forGood && (!apierrors.IsForbidden(got.err) || len(got.Remaining) != 1):
				t.Errorf("%+v", got)
			case !forGood && (got.err != nil || got.Evicted != 1):
				t.Errorf("%+v", got)
			}
		})
	}
}
