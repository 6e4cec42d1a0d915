// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"refit.dev/refit/event"
	"refit.dev/refit/plan"
)

const planName = "plan.json"

// keepPlan puts the plan that a run is begun with beside its journal, so that
// its report can compare. Nothing else reads it, so the run goes on without.
func (o *Operator) keepPlan(journal *Journal, p *plan.Plan) {
	if p == nil {
		return
	}
	path := filepath.Join(filepath.Dir(journal.path), planName)
	data, err := json.Marshal(p)
	if err == nil {
		err = os.WriteFile(path, data, 0o600)
	}
	if err != nil {
		o.Sink.Emit(event.Event{
			Time: o.Clock.Now(), Type: event.Warning, Message: fmt.Sprintf("the plan of the run cannot be kept for its report: %v", err),
			Hint: "make room in " + filepath.Dir(path),
		})
	}
}

// Plan returns the plan that a run was begun with; nil if it was begun without.
func (s *Store) Plan(run string) (*plan.Plan, error) {
	dir, err := s.path(run)
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(filepath.Join(dir, planName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // as it says above
	}
	if err != nil {
		return nil, fmt.Errorf("run %s: read its plan: %w", run, err)
	}
	var p plan.Plan
	if err := json.Unmarshal(data, &p); err != nil {
		return nil, fmt.Errorf("run %s: %s is damaged: %w", run, filepath.Join(dir, planName), err)
	}
	return &p, nil
}
