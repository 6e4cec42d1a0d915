// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package upgrade

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"refit.dev/refit/skew"
)

// readAPIs reads which deprecated APIs are used: those that the API server that answers has
// counted since it started, and the versions that custom resources are stored in.
func (o *Observer) readAPIs(ctx context.Context, s *State) error {
	text, err := o.Get(ctx, "/metrics")
	if err != nil {
		if err := s.unseen(err, "the path /metrics", "which deprecated APIs are asked for"); err != nil {
			return err
		}
	}
	s.Deprecated = parseRequested(text)
	text, err = o.Get(ctx, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions")
	if err != nil {
		return s.unseen(err, "customresourcedefinitions.apiextensions.k8s.io", "in which versions custom resources are stored")
	}
	if s.Stored, err = parseDefinitions(text); err != nil {
		return fmt.Errorf("read customresourcedefinitions: %w", err)
	}
	return nil
}

// requestedMetric is a gauge that an API server sets to 1 when it is asked for an API that is
// marked as deprecated (KEP-1693).
const requestedMetric = "apiserver_requested_deprecated_apis"

// parseRequested reads the gauge out of the text format of Prometheus. Lines that are not
// understood are left out: others' metrics stand beside it.
func parseRequested(text []byte) []DeprecatedAPI {
	var list []DeprecatedAPI
	for line := range bytes.Lines(text) {
		rest, found := strings.CutPrefix(string(line), requestedMetric+"{")
		if !found {
			continue
		}
		labels, value, found := strings.Cut(rest, "}")
		if !found || strings.TrimSpace(value) == "0" {
			continue
		}
		api := DeprecatedAPI{}
		for label := range strings.SplitSeq(labels, ",") {
			name, quoted, _ := strings.Cut(label, "=")
			value := strings.Trim(quoted, `"`)
			switch strings.TrimSpace(name) {
			case "group":
				api.Group = value
			case "version":
				api.Version = value
			case "resource":
				api.Resource = value
			case "removed_release":
				if v, err := skew.Parse(value); err == nil {
					api.Removed = v
				}
			}
		}
		if api.Version != "" && api.Resource != "" {
			list = append(list, api)
		}
	}
	slices.SortFunc(list, func(a, b DeprecatedAPI) int { return cmp.Compare(a.name(), b.name()) })
	return slices.Compact(list) // one for each subresource
}

// parseDefinitions reads CustomResourceDefinitions and keeps what is stored in versions
// that are not served, or deprecated.
func parseDefinitions(text []byte) ([]StoredVersion, error) {
	var list struct {
		Items []struct {
			Metadata struct {
				Name string `json:"name"`
			} `json:"metadata"`
			Spec struct {
				Versions []struct {
					Name       string `json:"name"`
					Served     bool   `json:"served"`
					Deprecated bool   `json:"deprecated"`
				} `json:"versions"`
			} `json:"spec"`
			Status struct {
				StoredVersions []string `json:"storedVersions"`
			} `json:"status"`
		} `json:"items"`
	}
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, err
	}
	var stored []StoredVersion
	for _, crd := range list.Items {
		for _, name := range crd.Status.StoredVersions {
			x := StoredVersion{Definition: crd.Metadata.Name, Version: name}
			for _, v := range crd.Spec.Versions {
				if v.Name == name {
					x.Served, x.Deprecated = v.Served, v.Deprecated
				}
			}
			if !x.Served || x.Deprecated {
				stored = append(stored, x)
			}
		}
	}
	slices.SortFunc(stored, func(a, b StoredVersion) int {
		return cmp.Or(cmp.Compare(a.Definition, b.Definition), cmp.Compare(a.Version, b.Version))
	})
	return stored, nil
}
