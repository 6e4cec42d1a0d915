// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package twin_test

import (
	"context"
	"testing"
	"time"

	"refit.dev/refit/twin"
	"refit.dev/refit/twin/twintest"
)

func TestUp(t *testing.T) {
	began := time.Now()
	tw := twintest.Start(t, twin.Options{})
	t.Logf("up after %s", time.Since(began))
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	st, err := tw.Status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", st)
	if st.State != twin.Running || st.Nodes != 3 || st.NodesReady != 3 {
		t.Errorf("state %s, %d nodes, %d ready; want running, 3, 3", st.State, st.Nodes, st.NodesReady)
	}
}
