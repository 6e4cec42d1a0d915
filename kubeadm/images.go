// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package kubeadm

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// images looks at what the runtime has and at what the installed kubeadm names for
// the version.
func (r *reader) images(ctx context.Context, cri string, q Query) (*Images, error) {
	i := &Images{}
	if err := r.present(ctx, cri, i); err != nil {
		return nil, err
	}
	if q.Version.IsZero() {
		return i, nil
	}
	argv := []string{"kubeadm", "config", "images", "list", "--kubernetes-version=" + q.Version.String()}
	if q.ImageRepository != "" {
		argv = append(argv, "--image-repository="+q.ImageRepository)
	}
	text, ok, err := r.maybe(ctx, "which images the version needs", argv...)
	if err != nil || !ok {
		return i, err
	}
	i.Wanted = parseImageList(text)
	return i, nil
}

// parseImages reads crictl images -o json (the CRI's ListImagesResponse).
func parseImages(text string) ([]string, error) {
	var list struct {
		Images []struct {
			RepoTags []string `json:"repoTags"`
		} `json:"images"`
	}
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		return nil, fmt.Errorf("read crictl images: %w", err)
	}
	var names []string
	for _, image := range list.Images {
		names = append(names, image.RepoTags...)
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// parseImageList reads kubeadm config images list: an image a line. Other lines, such
// as warnings, have spaces.
func parseImageList(text string) []string {
	var names []string
	for _, line := range lines(text) {
		if !strings.ContainsAny(line, " \t") && strings.Contains(line, ":") {
			names = append(names, line)
		}
	}
	return names
}

// missing returns the wanted images of the role that the runtime does not have, or
// false if that is not known.
func (i *Images) missing(role Role) ([]string, bool) {
	if i == nil || !i.Listed || len(i.Wanted) == 0 {
		return nil, false
	}
	var names []string
	for _, image := range i.Wanted {
		if role.needs(image) && !slices.Contains(i.Present, image) {
			names = append(names, image)
		}
	}
	return names, true
}
