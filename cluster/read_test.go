// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	clocktesting "k8s.io/utils/clock/testing"

	"refit.dev/refit/internal/hint"
)

func TestReadAsksEverythingAtTheVersionOfTheFirstList(t *testing.T) {
	api, client := startAPI(t, nil)
	s, err := Read(t.Context(), client)
	if err != nil {
		t.Fatal(err)
	}
	if s.ResourceVersion != "42" || s.Server != "v1.37.2" || s.Emulated != "v1.36" || len(s.Unread) != 0 {
		t.Errorf("version %q, server %q, emulated %q, unread %v", s.ResourceVersion, s.Server, s.Emulated, s.Unread)
	}
	for _, src := range sources() {
		asked := api.asked(src.resource.Resource)
		if len(asked) != 1 {
			t.Errorf("%s: asked %d times", src.resource.Resource, len(asked))
			continue
		}
		want := "42"
		if src.kind == KindNode {
			want = ""
		}
		if got := asked[0].Get("resourceVersion"); got != want {
			t.Errorf("%s: read at version %q, want %q", src.resource.Resource, got, want)
		}
		if want != "" && asked[0].Get("resourceVersionMatch") != "Exact" {
			t.Errorf("%s: not asked for exactly that version: %v", src.resource.Resource, asked[0])
		}
	}
}

func TestReadFollowsPages(t *testing.T) {
	page := func(name, next string) map[string]any {
		return map[string]any{
			"kind": "PodList", "apiVersion": "v1", "metadata": map[string]any{"resourceVersion": "42", "continue": next},
			"items": []any{map[string]any{"metadata": map[string]any{"name": name, "namespace": "default", "uid": name}}},
		}
	}
	_, client := startAPI(t, func(resource string, q url.Values) (int, any) {
		switch {
		case resource != "pods":
			return http.StatusOK, nil
		case q.Get("continue") == "":
			return http.StatusOK, page("b", "more")
		case q.Get("resourceVersion") != "": // the real one refuses that
			return refused(400, metav1.StatusReasonBadRequest, "specifying resource version is not allowed when using continue")
		}
		return http.StatusOK, page("a", "")
	})
	s, err := Read(t.Context(), client)
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Pods) != 2 || s.Pods[0].Name != "a" || s.Pods[1].Name != "b" || s.ResourceVersion != "42" {
		t.Errorf("pods %v at %q", s.Pods, s.ResourceVersion)
	}
}

func TestReadTellsThatTheCutIsTorn(t *testing.T) {
	for reason, code := range map[metav1.StatusReason]int32{metav1.StatusReasonExpired: 410, metav1.StatusReasonTimeout: 504} {
		t.Run(string(reason), func(t *testing.T) {
			_, client := startAPI(t, func(resource string, q url.Values) (int, any) {
				if resource != "pods" {
					return http.StatusOK, nil
				}
				if q.Get("resourceVersion") != "" {
					return refused(code, reason, "cannot serve that version")
				}
				return http.StatusOK, map[string]any{"kind": "PodList", "apiVersion": "v1", "metadata": map[string]any{"resourceVersion": "50"}}
			})
			s, err := Read(t.Context(), client)
			if err != nil {
				t.Fatal(err)
			}
			if len(s.Unread) != 1 || s.Unread[0].Code != CodeTorn || !strings.Contains(s.Unread[0].Message, "pods") || s.ResourceVersion != "" {
				t.Errorf("unread %v, version %q", s.Unread, s.ResourceVersion)
			}
		})
	}
}

func TestReadWithoutPermission(t *testing.T) {
	for _, src := range sources() {
		t.Run(src.resource.Resource, func(t *testing.T) {
			_, client := startAPI(t, func(resource string, _ url.Values) (int, any) {
				if resource == src.resource.Resource {
					return refused(403, metav1.StatusReasonForbidden, resource+" is forbidden: User \"eve\" cannot list resource")
				}
				return http.StatusOK, nil
			})
			s, err := Read(t.Context(), client)
			if src.unknown == "" {
				if err == nil || !strings.Contains(err.Error(), "read "+src.resource.Resource) || !strings.Contains(hint.Of(err), "--resource="+src.resource.Resource) {
					t.Errorf("error %v, hint %q", err, hint.Of(err))
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if len(s.Unread) != 1 || s.Unread[0].Code != CodeUnread || !strings.HasPrefix(s.Unread[0].Object.Name, src.resource.Resource) {
				t.Errorf("unread %v", s.Unread)
			}
		})
	}
}

func TestReadFailsWhenTheServerDoes(t *testing.T) {
	_, client := startAPI(t, func(resource string, _ url.Values) (int, any) {
		if resource == "persistentvolumes" { // optional, but not forbidden
			return refused(500, metav1.StatusReasonInternalError, "etcd is on fire")
		}
		return http.StatusOK, nil
	})
	if _, err := Read(t.Context(), client); err == nil || !strings.Contains(err.Error(), "read persistentvolumes") {
		t.Errorf("error %v", err)
	}
}

func TestReadEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	_, client := startAPI(t, func(resource string, _ url.Values) (int, any) {
		if resource == "pods" {
			cancel()
		}
		return http.StatusOK, nil
	})
	if _, err := Read(ctx, client); err == nil || !strings.Contains(err.Error(), context.Canceled.Error()) {
		t.Errorf("error %v", err)
	}
}

func TestReadOfChosenKinds(t *testing.T) {
	api, client := startAPI(t, nil)
	if _, err := Read(t.Context(), client, WithKinds(KindNode, KindPod)); err != nil {
		t.Fatal(err)
	}
	api.mu.Lock()
	defer api.mu.Unlock()
	var asked []string
	for _, r := range api.requests {
		asked = append(asked, r.resource)
	}
	if want := []string{"version", "nodes", "pods"}; !slices.Equal(asked, want) {
		t.Errorf("asked %v, want %v", asked, want)
	}
}

func TestReadAndFromObjectsAgree(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	objs, err := DecodeManifests(strings.NewReader(shopManifests))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := FromObjects(now, objs...)
	if err != nil {
		t.Fatal(err)
	}
	read, err := Read(t.Context(), fake.NewClientset(withUIDs(t, objs)...), WithClock(clocktesting.NewFakePassiveClock(now)))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := draw(read), draw(plain); got != want {
		t.Errorf("read:\n%s\nfrom objects:\n%s", got, want)
	}
	if !read.Time.Equal(now) {
		t.Errorf("time %v", read.Time)
	}
}

func TestTrimKeepsWhatMatters(t *testing.T) {
	always := corev1.ContainerRestartPolicyAlways
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Annotations:   map[string]string{lastApplied: "{}", corev1.MirrorPodAnnotationKey: "x"},
			ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "kubectl"}},
		},
		Spec: corev1.PodSpec{
			InitContainers: []corev1.Container{{Name: "sidecar", RestartPolicy: &always, Env: []corev1.EnvVar{{Name: "PASSWORD", Value: "secret"}}}},
			Containers: []corev1.Container{{Name: "c", Image: "i:v1", Ports: []corev1.ContainerPort{{HostPort: 80}}, Command: []string{"run"}, Resources: corev1.ResourceRequirements{
				Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1")},
				Limits:   corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("2"), corev1.ResourceMemory: resource.MustParse("1Gi")},
			}}},
		},
		Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{
			Name: "c", ImageID: "sha256:x", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}},
		}}},
	}
	for range 2 { // a transform may see an object twice
		if _, err := trim(pod); err != nil {
			t.Fatal(err)
		}
	}
	c, side := pod.Spec.Containers[0], pod.Spec.InitContainers[0]
	if c.Image != "i:v1" || c.Ports[0].HostPort != 80 || c.Command != nil || side.Env != nil || side.RestartPolicy != &always {
		t.Errorf("containers %+v %+v", c, side)
	}
	if r := c.Resources.Requests; r.Cpu().Value() != 1 || r.Memory().Value() != 1<<30 || c.Resources.Limits != nil {
		t.Errorf("resources %+v", c.Resources)
	}
	if _, mirror := pod.Annotations[corev1.MirrorPodAnnotationKey]; !mirror || len(pod.Annotations) != 1 || pod.ManagedFields != nil {
		t.Errorf("metadata %+v", pod.ObjectMeta)
	}
	if s := pod.Status.ContainerStatuses[0]; s.State.Waiting.Reason != "CrashLoopBackOff" || s.ImageID != "" {
		t.Errorf("status %+v", s)
	}
}
