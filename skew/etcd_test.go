// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package skew_test

import (
	"testing"

	"refit.dev/refit/skew"
)

func TestEtcdStep(t *testing.T) {
	for _, c := range []struct{ from, to, want string }{
		{"3.6.16", "3.7.3", ""},
		{"3.6.16", "3.6.16", ""},
		{"3.6.8", "3.6.16", ""},
		{"3.6.16-0", "3.7.0-rc.1", ""},
		{"3.9.1", "3.10.0", ""},
		{"3.7.3", "3.6.16", "is 3.6.16, and etcd 3.7.3 does not go back"},
		{"3.7.3", "3.7.2", "is 3.7.2, and etcd 3.7.3 does not go back"},
		{"3.10.0", "3.9.9", "is 3.9.9, and etcd 3.10.0 does not go back"},
		{"3.5.35", "3.7.3", "is 3.7.3, and etcd 3.5.35 goes one minor at a time: 3.6 comes first"},
		{"3.7.3", "4.0.0", "is 4.0.0, and etcd 3.7.3 does not go to another major version"},
		{"", "3.7.3", `is 3.7.3, and whether etcd can go there is not known: what runs says that it is ""`},
		{"3.6.16", "", `is "", which is no version of etcd`},
		{"3.6.16", "3.7", `is "3.7", which is no version of etcd`},
	} {
		if got := skew.EtcdStep(c.from, c.to); got != c.want {
			t.Errorf("from %q to %q: %q, want %q", c.from, c.to, got, c.want)
		}
	}
}
