// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package drain

import "testing"

// An API server that was restarted refuses everything until it knows its roles:
// one that had answered before has to refuse several times to be believed.
func TestDenials(t *testing.T) {
	fresh := &Drainer{}
	if !fresh.forGood(&podDrain{}) {
		t.Error("the first answer there is, a denial, is not believed")
	}
	known := &Drainer{state: state{answering: true}}
	p := &podDrain{}
	for i := 1; i < deniedPatience; i++ {
		if known.forGood(p) {
			t.Errorf("denial %d is believed", i)
		}
	}
	if !known.forGood(p) {
		t.Errorf("denial %d is not believed", deniedPatience)
	}
}
