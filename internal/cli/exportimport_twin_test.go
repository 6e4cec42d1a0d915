// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"

	"refit.dev/refit/event"
	"refit.dev/refit/twin"
	"refit.dev/refit/twin/twintest"
)

// TestExportAndImport takes what is in one cluster into another one.
func TestExportAndImport(t *testing.T) {
	from := twintest.Start(t, twin.Options{Name: "from", Nodes: 1, Scenario: "../../export/testdata/shop.yaml", Wait: true})
	to := twintest.Start(t, twin.Options{Name: "to", Nodes: 1})
	source, target := twintest.Client(t, from), twintest.Client(t, to)
	own(t, source)
	dir := filepath.Join(t.TempDir(), "cluster")

	// The API server of one group is away: the rest is exported, and the exit code tells.
	_, errw, code := refit(t, "export", dir, "--secrets=plain", "--kubeconfig", from.Kubeconfig())
	if code != exitFailed || !strings.Contains(errw, "away.example.com/v1 could not be read") {
		t.Fatalf("export: exit %d, %s", code, errw)
	}
	out, errw, code := refit(t, "export", dir, "--secrets=plain", "--skip-unreadable", "-o", "json", "--kubeconfig", from.Kubeconfig())
	summary := lastEvent(t, out)
	if code != exitDone || summary.Result != event.ResultDone || summary.Files["new"]+summary.Files["changed"]+summary.Files["removed"] > 0 || summary.ResourceVersion == "" {
		t.Fatalf("export again: exit %d, %s, %s", code, out, errw)
	}

	t.Run("where it is from", func(t *testing.T) {
		out, errw, code := refit(t, "import", dir, "--yes", "-o", "json", "--kubeconfig", from.Kubeconfig())
		if s := lastEvent(t, out); code != exitDone || s.Objects["created"]+s.Objects["failed"]+s.Objects["configured"] > 0 || s.Objects["unchanged"] == 0 {
			t.Errorf("the first import: exit %d, %s, %+v", code, errw, s)
		}
		_, errw, code = refit(t, "import", dir, "--yes", "--kubeconfig", from.Kubeconfig())
		if code != exitDone || strings.Count(errw, "warning: ") != 1 {
			t.Errorf("a warning twice: exit %d, %s", code, errw)
		}
	})
	t.Run("refused", func(t *testing.T) { importRefuses(t, to) })

	if _, errw, code := refit(t, "import", dir, "--kubeconfig", to.Kubeconfig()); code != exitUsage || !strings.Contains(errw, "--yes") {
		t.Errorf("import with nobody to ask: exit %d, %s", code, errw)
	}
	out, errw, code = refit(t, "import", dir, "--dry-run=server", "-o", "json", "--kubeconfig", to.Kubeconfig())
	if s := lastEvent(t, out); code != exitDone || s.Objects["failed"] > 0 || s.Objects["unchecked"] == 0 {
		t.Errorf("dry run: exit %d, %s, %+v", code, errw, s)
	}
	if _, err := target.CoreV1().Namespaces().Get(t.Context(), "shop", metav1.GetOptions{}); err == nil {
		t.Fatal("a dry run has made a namespace")
	}
	out, errw, code = refit(t, "import", dir, "--yes", "-o", "json", "--kubeconfig", to.Kubeconfig())
	if s := lastEvent(t, out); code != exitDone || s.Objects["created"] == 0 || s.Objects["failed"] > 0 {
		t.Fatalf("import: exit %d, %s, %s", code, errw, out)
	}
	equalClusters(t, dir, source, target)

	t.Run("again", func(t *testing.T) {
		out, errw, code := refit(t, "import", dir, "--yes", "-o", "json", "--kubeconfig", to.Kubeconfig())
		if s := lastEvent(t, out); code != exitDone || s.Objects["created"]+s.Objects["failed"]+s.Objects["configured"] > 0 {
			t.Errorf("import again: exit %d, %s, %+v", code, errw, s)
		}
		if out, errw, code := refit(t, "import", dir, "--diff", "--kubeconfig", to.Kubeconfig()); code != exitDone || out != "" || !strings.Contains(errw, "nothing would change") {
			t.Errorf("diff of nothing: exit %d, %s\n%s", code, errw, out)
		}
		second := filepath.Join(t.TempDir(), "again")
		if _, errw, code := refit(t, "export", second, "--secrets=plain", "--skip-unreadable", "--kubeconfig", to.Kubeconfig()); code != exitDone {
			t.Fatalf("export of the other cluster: exit %d, %s", code, errw)
		}
		if a, b := files(t, dir), files(t, second); !maps.Equal(a, b) {
			t.Errorf("the export of the other cluster is another one: %v", differing(a, b))
		}
	})
	t.Run("another cluster", func(t *testing.T) {
		before := files(t, dir)
		_, errw, code := refit(t, "export", dir, "--secrets=plain", "--skip-unreadable", "--kubeconfig", to.Kubeconfig())
		if code != exitUsage || !strings.Contains(errw, "of another cluster") || !maps.Equal(before, files(t, dir)) {
			t.Errorf("exit %d, %s, %v", code, errw, differing(before, files(t, dir)))
		}
	})
	t.Run("a list that would lack something", func(t *testing.T) {
		list := filepath.Join(t.TempDir(), "all.yaml")
		if err := os.WriteFile(list, []byte("whole"), 0o600); err != nil {
			t.Fatal(err)
		}
		_, errw, code := refit(t, "export", "--format", "list", list, "--overwrite", "--kubeconfig", from.Kubeconfig())
		if text, err := os.ReadFile(list); code != exitUsage || err != nil || string(text) != "whole" || !strings.Contains(errw, "away.example.com/v1") {
			t.Errorf("exit %d, %s, %v", code, errw, err)
		}
		_, errw, code = refit(t, "export", "--format", "list", list, "--overwrite", "--skip-unreadable", "--kubeconfig", from.Kubeconfig())
		if text, err := os.ReadFile(list); code != exitDone || err != nil || !strings.Contains(string(text), "kind: List") {
			t.Errorf("exit %d, %s, %v", code, errw, err)
		}
	})
	t.Run("system", func(t *testing.T) { system(t, to, target) })
	t.Run("owners", func(t *testing.T) {
		owner, err := target.CoreV1().ConfigMaps("shop").Get(t.Context(), "settings", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		owned, err := target.CoreV1().ConfigMaps("shop").Get(t.Context(), "owned", metav1.GetOptions{})
		if err != nil || len(owned.OwnerReferences) != 1 || owned.OwnerReferences[0].UID != owner.UID {
			t.Errorf("%v, %+v, want owner %s", err, owned.OwnerReferences, owner.UID)
		}
	})
	t.Run("diff and conflicts", func(t *testing.T) { conflicts(t, to, target, dir) })
	t.Run("gone", func(t *testing.T) { gone(t, from, source, dir) })
	t.Run("leaving", func(t *testing.T) { leaving(t, to, target) })
}

// own makes an object that another one owns, without being its controller.
func own(t *testing.T, client kubernetes.Interface) {
	t.Helper()
	owner, err := client.CoreV1().ConfigMaps("shop").Get(t.Context(), "settings", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	owned := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "owned", OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: owner.Name, UID: owner.UID}}}}
	if _, err := client.CoreV1().ConfigMaps("shop").Create(t.Context(), owned, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// importRefuses: what is wrong with files is said before anything is touched.
func importRefuses(t *testing.T, to *twin.Twin) {
	good := "apiVersion: v1\nkind: Namespace\nmetadata: {name: early}\n"
	for _, c := range []struct{ second, says string }{
		{"a: [", "neither YAML nor JSON"},
		{good, "Namespace early is in "},
		{"apiVersion: v1\nkind: Nonsense\nmetadata: {name: a}", "does not serve Nonsense in version v1"},
		{"apiVersion: apps/v1beta1\nkind: Deployment\nmetadata: {name: a}", "serves Deployment.apps in version v1, not in v1beta1"},
		{"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: nowhere}", "there is no namespace nowhere"},
		{"apiVersion: v1\nkind: Namespace\nmetadata: {name: a, namespace: b}", "is in no namespace"},
	} {
		dir := t.TempDir()
		for name, text := range map[string]string{"1.yaml": good, "2.yaml": c.second} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		_, errw, code := refit(t, "import", dir, "--yes", "--kubeconfig", to.Kubeconfig())
		if code != exitUsage || !strings.Contains(errw, c.says) {
			t.Errorf("%q: exit %d, %s, want %q", c.second, code, errw, c.says)
		}
	}
	if _, err := twintest.Client(t, to).CoreV1().Namespaces().Get(t.Context(), "early", metav1.GetOptions{}); err == nil {
		t.Error("something was made all the same")
	}
	dir := t.TempDir()
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "a.yaml")); err != nil {
		t.Fatal(err)
	}
	if _, errw, code := refit(t, "import", dir, "--yes", "--kubeconfig", to.Kubeconfig()); code != exitUsage || !strings.Contains(errw, "is a link") {
		t.Errorf("a link: exit %d, %s", code, errw)
	}
}

// conflicts: what somebody else has set stays, unless that is asked for.
func conflicts(t *testing.T, to *twin.Twin, client kubernetes.Interface, dir string) {
	patch := `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web"},"spec":{"replicas":5}}`
	if _, err := client.AppsV1().Deployments("shop").Patch(t.Context(), "web", types.ApplyPatchType, []byte(patch), metav1.PatchOptions{FieldManager: "jane", Force: new(true)}); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "web.yaml")
	text := strings.Replace(files(t, dir)["shop/deployment.apps/web.yaml"], "replicas: 2", "replicas: 3", 1)
	secret := "\n---\n{apiVersion: v1, kind: Secret, metadata: {name: password, namespace: shop}, data: {password: bmV3bmV3}}"
	if err := os.WriteFile(file, []byte(text+secret), 0o600); err != nil {
		t.Fatal(err)
	}
	out, errw, code := refit(t, "import", file, "--diff", "--force-conflicts", "--kubeconfig", to.Kubeconfig())
	if code != exitDone || !strings.Contains(out, "-  replicas: 5") || !strings.Contains(out, "+  replicas: 3") || strings.Contains(out, "bmV3bmV3") || !strings.Contains(out, "***") {
		t.Errorf("diff: exit %d, %s\n%s", code, errw, out)
	}
	_, errw, code = refit(t, "import", file, "--yes", "--kubeconfig", to.Kubeconfig())
	if code != exitFailed || !strings.Contains(errw, "deployment.apps/web -n shop failed: conflict: jane has set .spec.replicas") || !strings.Contains(errw, "--force-conflicts") {
		t.Errorf("conflict: exit %d, %s", code, errw)
	}
	if d := webDeployment(t, client); *d.Spec.Replicas != 5 {
		t.Errorf("%d replicas", *d.Spec.Replicas)
	}
	out, errw, code = refit(t, "import", file, "--yes", "--force-conflicts", "--kubeconfig", to.Kubeconfig())
	if d := webDeployment(t, client); code != exitDone || *d.Spec.Replicas != 3 || !strings.Contains(out, "deployment.apps/web -n shop configured") {
		t.Errorf("forced: exit %d, %s, %s, %d replicas", code, out, errw, *d.Spec.Replicas)
	}
}

// system: what the cluster stands on is not overruled by accident.
func system(t *testing.T, to *twin.Twin, client kubernetes.Interface) {
	ours := `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"kube-proxy"},"data":{"server":"this one"}}`
	proxies := client.CoreV1().ConfigMaps("kube-system")
	if _, err := proxies.Patch(t.Context(), "kube-proxy", types.ApplyPatchType, []byte(ours), metav1.PatchOptions{FieldManager: "kubeadm"}); err != nil {
		t.Fatal(err)
	}
	server := func() string {
		found, err := proxies.Get(t.Context(), "kube-proxy", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return found.Data["server"]
	}
	file := filepath.Join(t.TempDir(), "theirs.yaml")
	if err := os.WriteFile(file, []byte("{apiVersion: v1, kind: ConfigMap, metadata: {name: kube-proxy, namespace: kube-system}, data: {server: another}}"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, errw, code := refit(t, "import", file, "--yes", "--kubeconfig", to.Kubeconfig())
	if code != exitFailed || !strings.Contains(errw, "warning: 1 object that the cluster itself stands on is there: ConfigMap kube-system/kube-proxy") || server() != "this one" {
		t.Errorf("exit %d, %s", code, errw)
	}
	_, errw, code = refit(t, "import", file, "--yes", "--force-conflicts", "--kubeconfig", to.Kubeconfig())
	if code != exitBlocked || !strings.Contains(errw, "--system") || server() != "this one" {
		t.Errorf("forced: exit %d, %s", code, errw)
	}
	if _, errw, code := refit(t, "import", file, "--dry-run=server", "--force-conflicts", "--kubeconfig", to.Kubeconfig()); code != exitDone || server() != "this one" {
		t.Errorf("dry run: exit %d, %s", code, errw)
	}
	if _, errw, code := refit(t, "import", file, "--yes", "--system", "--kubeconfig", to.Kubeconfig()); code != exitUsage {
		t.Errorf("without --force-conflicts: exit %d, %s", code, errw)
	}
	if _, errw, code := refit(t, "import", file, "--yes", "--force-conflicts", "--system", "--kubeconfig", to.Kubeconfig()); code != exitDone || server() != "another" {
		t.Errorf("with --system: exit %d, %s", code, errw)
	}
}

func webDeployment(t *testing.T, client kubernetes.Interface) *appsv1.Deployment {
	t.Helper()
	d, err := client.AppsV1().Deployments("shop").Get(t.Context(), "web", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// gone: files of objects that are gone go, those that refit has not written stay.
func gone(t *testing.T, from *twin.Twin, client kubernetes.Interface, dir string) {
	if err := os.WriteFile(filepath.Join(dir, "README.md"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := client.AppsV1().Deployments("shop").Delete(t.Context(), "web", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	before := files(t, dir)
	if _, errw, code := refit(t, "export", dir, "--secrets=plain", "--skip-unreadable", "--kubeconfig", from.Kubeconfig()); code != exitDone {
		t.Fatalf("exit %d, %s", code, errw)
	}
	after := files(t, dir)
	delete(before, "shop/deployment.apps/web.yaml")
	if !maps.Equal(before, after) {
		t.Errorf("also changed: %v", differing(before, after))
	}
	if _, err := os.Stat(filepath.Join(dir, "shop", "deployment.apps")); err == nil {
		t.Error("an empty directory is left")
	}
	if _, errw, code := refit(t, "export", dir, "-n", "shop", "--kubeconfig", from.Kubeconfig()); code != exitUsage || !strings.Contains(errw, "another selection") {
		t.Errorf("another selection: exit %d, %s", code, errw)
	}
}

// leaving: nothing can be made in a namespace that is going.
func leaving(t *testing.T, to *twin.Twin, client kubernetes.Interface) {
	stuck := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "stuck", Finalizers: []string{"example.com/stuck"}}}
	if _, err := client.CoreV1().ConfigMaps("shop").Create(t.Context(), stuck, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := client.CoreV1().Namespaces().Delete(t.Context(), "shop", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "a.yaml")
	if err := os.WriteFile(file, []byte("{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: shop}}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, errw, code := refit(t, "import", file, "--yes", "--kubeconfig", to.Kubeconfig()); code != exitBlocked || !strings.Contains(errw, "is deleting namespace shop") {
		t.Errorf("exit %d, %s", code, errw)
	}
}

// equalClusters reads each object that a file names from both API servers, by itself, and compares what is no
// cluster's own.
func equalClusters(t *testing.T, dir string, clients ...*kubernetes.Clientset) {
	t.Helper()
	compared := 0
	for path, text := range files(t, dir) {
		var m metav1.PartialObjectMetadata
		if err := yaml.Unmarshal([]byte(text), &m); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		var got []map[string]any
		for _, client := range clients {
			list, err := client.Discovery().ServerResourcesForGroupVersion(m.APIVersion)
			if err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			i := slices.IndexFunc(list.APIResources, func(r metav1.APIResource) bool { return r.Kind == m.Kind && !strings.Contains(r.Name, "/") })
			root := "/apis/" + m.APIVersion
			if !strings.Contains(m.APIVersion, "/") {
				root = "/api/" + m.APIVersion
			}
			request := client.RESTClient().Get().AbsPath(root)
			if m.Namespace != "" {
				request.Namespace(m.Namespace)
			}
			raw, err := request.Resource(list.APIResources[i].Name).Name(m.Name).SetHeader("Accept", "application/json").DoRaw(t.Context())
			if err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			object := map[string]any{}
			if err := json.Unmarshal(raw, &object); err != nil {
				t.Fatal(err)
			}
			got = append(got, stripped(object))
		}
		if compared++; !reflect.DeepEqual(got[0], got[1]) {
			t.Errorf("%s:\n%v\nbecame\n%v", path, got[0], got[1])
		}
	}
	if compared < 20 {
		t.Errorf("%d objects were compared", compared)
	}
}

// stripped is an object without what each cluster has of its own.
func stripped(object map[string]any) map[string]any {
	metadata := object["metadata"].(map[string]any)
	for _, field := range []string{"uid", "resourceVersion", "creationTimestamp", "managedFields", "generation"} {
		delete(metadata, field)
	}
	if annotations, ok := metadata["annotations"].(map[string]any); ok {
		delete(annotations, "deployment.kubernetes.io/revision")
		if len(annotations) == 0 {
			delete(metadata, "annotations")
		}
	}
	owners, _ := metadata["ownerReferences"].([]any)
	for _, o := range owners {
		delete(o.(map[string]any), "uid")
	}
	delete(object, "status")
	if object["kind"] == "Service" {
		spec := object["spec"].(map[string]any)
		delete(spec, "clusterIP")
		delete(spec, "clusterIPs")
		for _, p := range spec["ports"].([]any) {
			if port := p.(map[string]any); fmt.Sprint(port["port"]) != "81" { // chosen by hand
				delete(port, "nodePort")
			}
		}
	}
	return object
}

func lastEvent(t *testing.T, out string) event.Event {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(out), "\n")
	var e event.Event
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &e); err != nil || e.Type != event.Summary {
		t.Errorf("%v: the last line is no summary: %s", err, lines[len(lines)-1])
	}
	return e
}

// files are those below a directory that are not hidden, by path.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasPrefix(d.Name(), ".") || !strings.HasSuffix(path, ".yaml") {
			return err
		}
		text, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		all[filepath.ToSlash(name)] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// differing are the paths whose files are not the same.
func differing(a, b map[string]string) []string {
	var all []string
	for path := range a {
		if a[path] != b[path] {
			all = append(all, path+":\n"+a[path]+"and\n"+b[path])
		}
	}
	for path := range b {
		if _, ok := a[path]; !ok {
			all = append(all, path+" is new")
		}
	}
	slices.Sort(all)
	return all
}
