// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"slices"

	"k8s.io/utils/clock"
)

// Option changes how Read and Watch work.
type Option func(*options)

type options struct {
	clock clock.PassiveClock
	kinds []Kind // nil: all
}

// WithClock sets the clock by which time goes on; the default is the machine's. How far it is
// from the clock of the API server, which dates Snapshots, is found out.
func WithClock(c clock.PassiveClock) Option {
	return func(o *options) { o.clock = c }
}

// WithKinds reads these kinds only, which saves memory and permissions. What was
// not asked for is missing from the Snapshot without a word in Unread: check and
// the planner want everything.
func WithKinds(kinds ...Kind) Option {
	return func(o *options) { o.kinds = append(o.kinds, kinds...) }
}

func newOptions(opts []Option) options {
	o := options{clock: clock.RealClock{}}
	for _, opt := range opts {
		opt(&o)
	}
	return o
}

// sources are those of the kinds that were asked for.
func (o options) sources() []source {
	all := sources()
	if o.kinds == nil {
		return all
	}
	return slices.DeleteFunc(all, func(s source) bool { return !slices.Contains(o.kinds, s.kind) })
}
