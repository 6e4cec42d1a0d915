// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"bytes"
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
	"k8s.io/client-go/rest"

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
	if cannotBeApplied(err) {
		text, code, err = a.create(ctx, t, accept, err)
	}
	if err != nil {
		return nil, err
	}
	u, err := decode(text)
	if err != nil {
		return nil, fmt.Errorf("what the API server answered: %w", err)
	}
	return &made{u, code == http.StatusCreated}, nil
}

// cannotBeApplied tells whether the API server refuses to apply an object that it would take otherwise: server-side apply has to tell
// the entries of a list apart, and validation lets environment variables, ports and the like be there twice
// (structured-merge-diff, typed/validate.go).
func cannotBeApplied(err error) bool {
	return err != nil && strings.Contains(err.Error(), "duplicate entries for key")
}

// create makes an object that cannot be applied, for the reason why; one that is there is left as it is.
func (a *applier) create(ctx context.Context, t *target, accept string, why error) (text []byte, code int, err error) {
	a.mu.Lock()
	_, there := a.live[t.key]
	a.mu.Unlock()
	if there {
		return nil, 0, hint.Wrap(why, "the object is there, and entries that are in a list twice cannot be applied: kubectl replace sets it to what the file says")
	}
	body, err := a.body(t)
	if err != nil {
		return nil, 0, err
	}
	request := a.api.Client.Post().AbsPath(t.resource.Path(t.GetNamespace(), "")).SetHeader("Content-Type", "application/json").SetHeader("Accept", accept).Body(body)
	text, code, err = served.Do(ctx, a.with(request))
	return text, code, explain(err)
}

// with says how an import wants its requests to be taken.
func (a *applier) with(request *rest.Request) *rest.Request {
	request.Param("fieldManager", fieldManager).Param("fieldValidation", "Strict")
	if a.DryRun {
		request.Param("dryRun", metav1.DryRunAll)
	}
	return request
}

// patch asks for an object by server-side apply, and returns the answer in the form that accept says.
func (a *applier) patch(ctx context.Context, t *target, accept string) (text []byte, code int, err error) {
	body, err := a.body(t)
	if err != nil {
		return nil, 0, err
	}
	request := a.api.Client.Patch(types.ApplyPatchType).AbsPath(t.path()).SetHeader("Accept", accept).Body(body).Param("force", strconv.FormatBool(a.Force))
	text, code, err = served.Do(ctx, a.with(request))
	return text, code, explain(err)
}

// body is an object as JSON, with the owners that it has in this cluster.
func (a *applier) body(t *target) ([]byte, error) {
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
		return nil, fmt.Errorf("encode it: %w", err)
	}
	return printable(body), nil
}

// printable escapes the characters that JSON may have as they are and YAML may not, or takes for the end of a line: the API
// server reads what is applied as YAML.
func printable(text []byte) []byte {
	special := func(r rune) bool {
		return r >= 0x7f && r <= 0x9f || r == 0xfeff || r == 0xfffe || r == 0xffff
	}
	if !bytes.ContainsFunc(text, special) {
		return text
	}
	var b bytes.Buffer
	for _, r := range string(text) { // all of them are in texts: nothing else of JSON is beyond ASCII
		if special(r) {
			fmt.Fprintf(&b, `\u%04x`, r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.Bytes()
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
	case webhookAway(err):
		return true
	case apierrors.IsForbidden(err): // the account of a pod is made by a controller
		return t.key.Kind == "Pod" && strings.Contains(err.Error(), "error looking up service account")
	case apierrors.IsNotFound(err): // API servers learn of definitions and namespaces one after the other
		return t.defined || strings.Contains(err.Error(), "namespaces ")
	}
	return false
}

// webhookAway tells whether the API server could not do its work because a webhook does not answer: one of admission, or one that
// converts between the versions of a custom resource.
func webhookAway(err error) bool {
	return err != nil && apierrors.IsInternalError(err) &&
		(strings.Contains(err.Error(), "failed calling webhook") || strings.Contains(err.Error(), "conversion webhook for"))
}
