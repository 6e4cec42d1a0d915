// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"refit.dev/refit/internal/hint"
	"refit.dev/refit/manifest"
	"refit.dev/refit/served"
)

// fieldManager is who the API server records as having set what an import sets.
const fieldManager = "refit"

// made is what the API server says of an object that was applied.
type made struct {
	*unstructured.Unstructured
	created bool
}

// send applies an object as it is, but for its owners, which are those of this cluster. Unless all of it is wanted,
// the metadata alone is returned.
func (a *applier) send(ctx context.Context, t *target, whole bool) (*made, error) {
	accept := oneMetadata
	if whole {
		accept = "application/json"
	}
	text, code, err := a.patch(ctx, t, accept)
	if err != nil {
		return nil, err
	}
	u, err := decode(text)
	if err != nil {
		return nil, fmt.Errorf("what the API server answered: %w", err)
	}
	return &made{u, code == http.StatusCreated}, nil
}

// patch asks for an object by server-side apply, and returns the answer in the form that accept says.
func (a *applier) patch(ctx context.Context, t *target, accept string) (text []byte, code int, err error) {
	u := t.Unstructured
	if len(manifest.Owners(u)) > 0 {
		u = u.DeepCopy() // it may be tried again
		manifest.Remap(u, func(k manifest.Key) (types.UID, bool) {
			a.mu.Lock()
			defer a.mu.Unlock()
			uid, ok := a.uids[k]
			return uid, ok
		})
	}
	body, err := json.Marshal(u.Object)
	if err != nil {
		return nil, 0, fmt.Errorf("encode it: %w", err)
	}
	request := a.api.Client.Patch(types.ApplyPatchType).AbsPath(t.path()).SetHeader("Accept", accept).Body(body).
		Param("fieldManager", fieldManager).Param("fieldValidation", "Strict").Param("force", strconv.FormatBool(a.Force))
	if a.DryRun {
		request.Param("dryRun", metav1.DryRunAll)
	}
	text, code, err = served.Do(ctx, request)
	return text, code, explain(err)
}

// explain makes an error of the API server one that says what to do.
func explain(err error) error {
	if err == nil {
		return nil
	}
	if apierrors.IsForbidden(err) && !apierrors.HasStatusCause(err, "NamespaceTerminating") {
		return hint.Wrap(err, "see what you may do: kubectl auth can-i --list")
	}
	var status apierrors.APIStatus
	if !errors.As(err, &status) || !apierrors.IsConflict(err) || status.Status().Details == nil {
		return err
	}
	by := map[string][]string{}
	for _, c := range status.Status().Details.Causes {
		if c.Type == metav1.CauseTypeFieldManagerConflict {
			by[manager(c.Message)] = append(by[manager(c.Message)], c.Field)
		}
	}
	if len(by) == 0 {
		return err
	}
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(by)) {
		fields := by[name]
		slices.Sort(fields)
		parts = append(parts, fmt.Sprintf("%s has set %s", name, strings.Join(slices.Compact(fields), ", ")))
	}
	return hint.Wrap(&ConflictError{Managers: slices.Sorted(maps.Keys(by)), text: "conflict: " + strings.Join(parts, "; ")},
		"--force-conflicts sets the fields to what the files say")
}

// ConflictError says which managers have set fields of an object to other values.
type ConflictError struct {
	Managers []string
	text     string
}

func (e *ConflictError) Error() string { return e.text }

// manager is who a cause is about: conflict with "NAME" using VERSION.
func manager(message string) string {
	_, rest, ok := strings.Cut(message, `"`)
	name, _, closed := strings.Cut(rest, `"`)
	if !ok || !closed {
		return message
	}
	return name
}

// mayPass tells whether there is hope that an object can be made a little later.
func mayPass(t *target, err error) bool {
	var broken *url.Error
	switch {
	case errors.As(err, new(*ConflictError)):
		return false
	case apierrors.IsServiceUnavailable(err), apierrors.IsTooManyRequests(err), apierrors.IsServerTimeout(err), apierrors.IsTimeout(err),
		apierrors.IsConflict(err), errors.As(err, &broken):
		return true
	case apierrors.IsInternalError(err): // a webhook that does not answer yet
		return strings.Contains(err.Error(), "failed calling webhook")
	case apierrors.IsForbidden(err): // the account of a pod is made by a controller
		return t.key.Kind == "Pod" && strings.Contains(err.Error(), "error looking up service account")
	case apierrors.IsNotFound(err): // API servers learn of definitions and namespaces one after the other
		return t.defined || strings.Contains(err.Error(), "namespaces ")
	}
	return false
}
