// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"context"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/json"

	"refit.dev/refit/cluster"
	"refit.dev/refit/internal/linediff"
	"refit.dev/refit/manifest"
	"refit.dev/refit/served"
)

// longText is from how many lines on no line by line comparison is made: that takes room for each pair of lines.
const longText = 3000

// Difference is what an import would change about one object.
type Difference struct {
	Key manifest.Key
	// New: the object is not there yet.
	New bool
	// Lines are those that come and go, with + and - in front. Values of Secrets are not shown.
	Lines []string
	// Failed is why it could not be asked.
	Failed error
}

// Diff asks the API server by a dry run what each object would become, and tells what differs, in the order of the import.
// What is the server's own is left out on both sides, as by an export.
func (p *Prepared) Diff(ctx context.Context, o Options, tell func(Difference) error) error {
	o.DryRun = true
	a := &applier{Prepared: p, Options: o, uids: map[manifest.Key]types.UID{}, counts: Counts{}, lost: map[manifest.Key]bool{}}
	for key, there := range p.live {
		a.uids[key] = there.uid
	}
	for _, stage := range p.stages {
		for _, t := range stage {
			d, err := a.difference(ctx, t)
			if err != nil {
				return err
			}
			if len(d.Lines) == 0 && d.Failed == nil {
				continue
			}
			if err := tell(*d); err != nil {
				return err
			}
		}
	}
	return nil
}

func (a *applier) difference(ctx context.Context, t *target) (*Difference, error) {
	d := &Difference{Key: t.key}
	var before, after *unstructured.Unstructured
	if _, there := a.live[t.key]; there {
		text, _, err := served.Do(ctx, a.api.Client.Get().AbsPath(t.path()))
		if err != nil && !apierrors.IsNotFound(err) {
			return nil, cluster.Explain(err, t.key.String())
		}
		if err == nil {
			if before, err = decode(text); err != nil {
				return nil, fmt.Errorf("read %s: %w", t.key, err)
			}
		}
	}
	d.New = before == nil
	if a.unaskable(t) {
		after = t.DeepCopy()
	} else {
		var err error
		after, d.Failed, err = a.rehearse(ctx, t)
		if err != nil || d.Failed != nil {
			return d, err
		}
	}
	if t.key.Group == "" && t.key.Kind == "Secret" {
		mask(before, after)
	}
	var texts [2]string
	for i, u := range []*unstructured.Unstructured{before, after} {
		if u == nil {
			continue
		}
		manifest.Clean(u)
		text, err := manifest.Encode(u.Object)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", t.key, err)
		}
		texts[i] = string(text)
	}
	if texts[0] == texts[1] {
		return d, nil
	}
	if n := max(strings.Count(texts[0], "\n"), strings.Count(texts[1], "\n")); n > longText {
		d.Lines = []string{fmt.Sprintf(" %d lines, too many to compare one by one", n)}
		return d, nil
	}
	d.Lines = linediff.Of(texts[0], texts[1])
	return d, nil
}

// rehearse asks what an object would become; failed is why the API server would not take it.
func (a *applier) rehearse(ctx context.Context, t *target) (after *unstructured.Unstructured, failed, err error) {
	text, _, failed := a.patch(ctx, t, "application/json")
	switch {
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	case failed == nil:
		if after, err = decode(text); err != nil {
			err = fmt.Errorf("read %s: %w", t.key, err)
		}
	}
	return after, failed, err
}

func decode(text []byte) (*unstructured.Unstructured, error) {
	u := &unstructured.Unstructured{}
	return u, json.Unmarshal(text, &u.Object)
}

// mask hides the values of a Secret, and lets one see which differ.
func mask(before, after *unstructured.Unstructured) {
	values := func(u *unstructured.Unstructured, field string) map[string]any {
		if u == nil {
			return nil
		}
		m, _ := u.Object[field].(map[string]any)
		return m
	}
	for _, field := range []string{"data", "stringData"} {
		old, now := values(before, field), values(after, field)
		for key, value := range old {
			old[key] = "***"
			if other, both := now[key]; both && other == value {
				now[key] = "***"
			}
		}
		for key, value := range now {
			if value != "***" || old[key] == nil {
				now[key] = "*** (new)"
			}
		}
	}
}
