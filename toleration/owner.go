// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package toleration

import (
	"encoding/json"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// appliers are the managers that have set the tolerations of t by server-side apply,
// sorted. The list is atomic, so that it has owners as a whole (listType of
// PodSpec.tolerations in staging/src/k8s.io/api/core/v1/types.go); fields are owned as
// sigs.k8s.io/structured-merge-diff writes them. One who has set it by an update alone
// does not come back to it.
func appliers(t *Target) []string {
	var names []string
	for _, f := range t.ManagedFields {
		if f.Operation == metav1.ManagedFieldsOperationApply && f.FieldsV1 != nil && owns(f.FieldsV1.GetRawBytes(), tolerationsPath(t.Kind)) {
			names = append(names, f.Manager)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// tolerationsPath is where the tolerations are in an object of a kind.
func tolerationsPath(kind string) []string {
	switch kind {
	case "Pod":
		return []string{"f:spec", "f:tolerations"}
	case "CronJob":
		return []string{"f:spec", "f:jobTemplate", "f:spec", "f:template", "f:spec", "f:tolerations"}
	}
	return []string{"f:spec", "f:template", "f:spec", "f:tolerations"}
}

// owns tells whether a set of fields has the one at path. What cannot be read has none.
func owns(fields json.RawMessage, path []string) bool {
	for _, key := range path {
		var level map[string]json.RawMessage
		if json.Unmarshal(fields, &level) != nil {
			return false
		}
		next, found := level[key]
		if !found {
			return false
		}
		fields = next
	}
	return true
}
