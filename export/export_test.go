// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package export

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"filippo.io/age"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"refit.dev/refit/manifest"
	"refit.dev/refit/served"
	"refit.dev/refit/twin"
	"refit.dev/refit/twin/twintest"
	"refit.dev/refit/vault/seal"
)

// many are more objects than two pages hold.
const many = 2*pageSize + 7

// TestExport is about one real cluster.
func TestExport(t *testing.T) {
	tw := twintest.Start(t, twin.Options{Nodes: 2, Scenario: "testdata/shop.yaml", Wait: true})
	config, client := twintest.Config(t, tw), twintest.Client(t, tw)
	fill(t, config, client)
	read := func(t *testing.T, s Selection) *Cut {
		t.Helper()
		api, err := served.Read(t.Context(), config)
		if err != nil {
			t.Fatal(err)
		}
		cut, err := Read(t.Context(), api, s)
		if err != nil {
			t.Fatal(err)
		}
		return cut
	}

	t.Run("files", func(t *testing.T) {
		dir := t.TempDir()
		cut := read(t, Selection{})
		written, err := Write(dir, cut, Options{})
		if err != nil {
			t.Fatal(err)
		}
		files := filesOf(t, dir)
		for _, path := range []string{
			"_cluster/namespace/shop.yaml", "_cluster/customresourcedefinition.apiextensions.k8s.io/things.example.com.yaml",
			"_cluster/clusterrole.rbac.authorization.k8s.io/shop%3a%41dmin.yaml", "_cluster/clusterrole.rbac.authorization.k8s.io/shop%3aadmin.yaml",
			"_cluster/apiservice.apiregistration.k8s.io/v1.away.example.com.yaml", "_cluster/apiservice.apiregistration.k8s.io/v1beta1.metrics.k8s.io.yaml", "_cluster/validatingwebhookconfiguration.admissionregistration.k8s.io/gate.yaml",
			"shop/configmap/settings.yaml", "shop/configmap/%63on.yaml", "shop/deployment.apps/web.yaml", "shop/service/web.yaml",
			"shop/endpoints/outside.yaml", "shop/cronjob.batch/nightly.yaml", "shop/thing.example.com/one.yaml", "pages/configmap/c-0000.yaml",
		} {
			if files[path] == "" {
				t.Errorf("%s is not there", path)
			}
		}
		for path := range files {
			for _, kind := range []string{"/secret/", "/pod/", "/replicaset.apps/", "/endpointslice.discovery.k8s.io/", "/event/", "/lease.coordination.k8s.io/", "/node/"} {
				if strings.Contains(path, kind) && !strings.HasPrefix(path, "shop/endpointslice") {
					t.Errorf("%s is there", path)
				}
			}
			if strings.HasPrefix(path, "going/") || path == "_cluster/namespace/going.yaml" || path == "shop/endpoints/web.yaml" || strings.Contains(path, "kube-root-ca.crt") {
				t.Errorf("%s is there", path)
			}
		}
		if want := `apiVersion: v1
data:
  lines: |
    a

      b
  number: "012"
  "on": "yes"
kind: ConfigMap
metadata:
  annotations:
    note: "yes"
  labels:
    team: web
  name: settings
  namespace: shop
`; files["shop/configmap/settings.yaml"] != want {
			t.Errorf("settings:\n%s", files["shop/configmap/settings.yaml"])
		}
		if service := files["shop/service/web.yaml"]; strings.Contains(service, "clusterIP") || strings.Count(service, "nodePort") != 1 || !strings.Contains(service, "31081") {
			t.Errorf("what the server has chosen, or not what the user has:\n%s", service)
		}
		// What cannot be read is named, and everything else is there.
		if !slices.ContainsFunc(cut.Unread, func(u Unread) bool { return u.Resource == "away.example.com/v1" }) || len(cut.Unread) != 1 {
			t.Errorf("unread: %+v", cut.Unread)
		}
		if len(cut.Torn) > 0 {
			t.Errorf("torn: %v", cut.Torn)
		}
		if !slices.Contains(cut.Unfit, "componentstatuses") || !slices.Contains(cut.Unfit, "metrics.k8s.io/v1beta1") {
			t.Errorf("unfit: %v", cut.Unfit)
		}
		if cut.LeftOut[manifest.Controlled] < 3 || cut.LeftOut[manifest.Leaving] < 1 || cut.LeftOut[manifest.Machine] < 2 {
			t.Errorf("left out: %v", cut.LeftOut)
		}
		if written.New != len(files) || written.New != len(cut.Objects) {
			t.Errorf("%+v, %d files, %d objects", written, len(files), len(cut.Objects))
		}
		equalsAPI(t, config, files)

		again, err := Write(dir, read(t, Selection{}), Options{})
		if err != nil || again.Unchanged != len(files) || again.New+again.Changed+again.Removed > 0 {
			t.Errorf("again: %+v, %v", again, err)
		}
		if !maps.Equal(filesOf(t, dir), files) {
			t.Error("the same cluster gave other bytes")
		}
		if _, err := Write(dir, cut, Options{Selection: Selection{Kinds: []string{"pods"}}}); !errors.Is(err, ErrDirectory) {
			t.Errorf("another selection: %v", err)
		}
	})

	t.Run("list", func(t *testing.T) {
		cut := read(t, Selection{})
		objects, err := manifest.Parse(List(cut))
		if err != nil || len(objects) != len(cut.Objects) {
			t.Fatalf("%d of %d objects, %v", len(objects), len(cut.Objects), err)
		}
		for i, u := range objects {
			text, err := manifest.Encode(u.Object)
			if err != nil || !bytes.Equal(text, cut.Objects[i].Text) {
				t.Fatalf("%v, in the list:\n%s\nby itself:\n%s", err, text, cut.Objects[i].Text)
			}
		}
	})

	t.Run("selections", func(t *testing.T) {
		for name, c := range map[string]struct {
			selection Selection
			want      []string
			more      bool
		}{
			"labels":      {Selection{Labels: labels.SelectorFromSet(labels.Set{"team": "web"})}, []string{"_cluster/namespace/shop.yaml", "shop/configmap/settings.yaml", "shop/deployment.apps/web.yaml"}, false},
			"kinds":       {Selection{Kinds: []string{"deploy", "Thing"}}, []string{"shop/deployment.apps/web.yaml", "shop/thing.example.com/one.yaml"}, false},
			"named kinds": {Selection{Kinds: []string{"leases"}}, []string{"kube-node-lease/lease.coordination.k8s.io/node-01.yaml"}, true},
			"namespace": {Selection{Namespaces: []string{"shop"}, Exclude: []string{"configmaps", "cj", "endpointslices"}}, []string{
				"_cluster/namespace/shop.yaml", "shop/deployment.apps/web.yaml", "shop/endpoints/outside.yaml",
				"shop/service/outside.yaml", "shop/service/web.yaml", "shop/thing.example.com/one.yaml",
			}, false},
		} {
			var got []string
			for _, o := range read(t, c.selection).Objects {
				got = append(got, o.Path)
			}
			if c.more {
				got = slices.DeleteFunc(got, func(p string) bool { return !slices.Contains(c.want, p) })
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%s: %v, want %v", name, got, c.want)
			}
		}
		api, err := served.Read(t.Context(), config)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Read(t.Context(), api, Selection{Kinds: []string{"nonsense"}}); !errors.Is(err, ErrSelection) {
			t.Errorf("a kind that is not there: %v", err)
		}
	})

	t.Run("secrets", func(t *testing.T) { secrets(t, read) })

	t.Run("one moment", func(t *testing.T) {
		ctx, configMaps := t.Context(), client.CoreV1().ConfigMaps("shop")
		if _, err := configMaps.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "before"}}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		meddled := rest.CopyConfig(config)
		var once sync.Once
		// After the version is fixed, and before anything is read at it, the cluster changes.
		meddled.Wrap(func(next http.RoundTripper) http.RoundTripper {
			return roundTripper(func(r *http.Request) (*http.Response, error) {
				if strings.Contains(r.URL.RawQuery, "resourceVersionMatch=Exact") {
					once.Do(func() {
						if err := configMaps.Delete(ctx, "before", metav1.DeleteOptions{}); err != nil {
							t.Error(err)
						}
						if _, err := configMaps.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "after"}}, metav1.CreateOptions{}); err != nil {
							t.Error(err)
						}
						if err := client.CoreV1().Services("shop").Delete(ctx, "outside", metav1.DeleteOptions{}); err != nil {
							t.Error(err)
						}
					})
				}
				return next.RoundTrip(r)
			})
		})
		api, err := served.Read(ctx, meddled)
		if err != nil {
			t.Fatal(err)
		}
		cut, err := Read(ctx, api, Selection{})
		if err != nil {
			t.Fatal(err)
		}
		has := func(path string) bool {
			return slices.ContainsFunc(cut.Objects, func(o Object) bool { return o.Path == path })
		}
		if !has("shop/configmap/before.yaml") || has("shop/configmap/after.yaml") || !has("shop/service/outside.yaml") {
			t.Error("the cut is not of one moment")
		}
		if _, err := configMaps.Get(ctx, "before", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			t.Errorf("the cluster did not change meanwhile: %v", err)
		}
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// secrets: each is encrypted, none is encrypted again without need, and who is not asked for them gets none.
func secrets(t *testing.T, read func(*testing.T, Selection) *Cut) {
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	recipients, err := seal.ReadRecipients([]string{identity.Recipient().String()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	o := Options{Selection: Selection{Secrets: SecretsEncrypt}, Recipients: recipients}
	if _, err := Write(dir, read(t, o.Selection), o); err != nil {
		t.Fatal(err)
	}
	const path = "shop/secret/password.yaml.age"
	before := filesOf(t, dir)
	if before[path] == "" || strings.Contains(strings.Join(slices.Collect(maps.Values(before)), ""), "b3Blbi1zZXNhbWU=") {
		t.Fatal("the Secret is not there, or readable")
	}
	if _, err := Write(dir, read(t, o.Selection), o); err != nil || !maps.Equal(filesOf(t, dir), before) {
		t.Errorf("encrypted again without need: %v", err)
	}
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte(identity.String()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	identities, err := seal.ReadIdentities([]string{key})
	if err != nil {
		t.Fatal(err)
	}
	plain, err := identities.Decrypt([]byte(before[path]))
	if err != nil || !strings.Contains(string(plain), "password: b3Blbi1zZXNhbWU=") {
		t.Errorf("decrypted: %s, %v", plain, err)
	}
	other, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	if o.Recipients, err = seal.ReadRecipients([]string{other.Recipient().String()}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := Write(dir, read(t, o.Selection), o); err != nil {
		t.Fatal(err)
	}
	if _, err := identities.Decrypt([]byte(filesOf(t, dir)[path])); err == nil {
		t.Error("it can still be read by who is no recipient any more")
	}
}

// fill adds what no scenario can hold.
func fill(t *testing.T, config *rest.Config, client kubernetes.Interface) {
	t.Helper()
	ctx := t.Context()
	dynamicClient, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	thing := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "example.com/v1", "kind": "Thing", "metadata": map[string]any{"name": "one", "namespace": "shop", "finalizers": []any{"example.com/keep"}},
		"spec": map[string]any{"big": int64(1) << 60, "half": 0.5, "none": nil, "yes": true},
	}}
	things := dynamicClient.Resource(schema.GroupVersionResource{Group: "example.com", Version: "v1", Resource: "things"}).Namespace("shop")
	if _, err := things.Create(ctx, thing, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"pages", "going"} {
		if _, err := client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range many {
		c := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("c-%04d", i)}, Data: map[string]string{"n": fmt.Sprint(i)}}
		if _, err := client.CoreV1().ConfigMaps("pages").Create(ctx, c, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	stuck := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "stuck", Finalizers: []string{"example.com/stuck"}}}
	if _, err := client.CoreV1().ConfigMaps("going").Create(ctx, stuck, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := client.CoreV1().Namespaces().Delete(ctx, "going", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
}

// equalsAPI compares each file with the object that the API server has, found by what the file says it is: whatever
// the file holds, the object holds as well.
func equalsAPI(t *testing.T, config *rest.Config, files map[string]string) {
	t.Helper()
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	for path, text := range files {
		if strings.HasPrefix(path, "pages/") && !strings.HasSuffix(path, "7.yaml") {
			continue // some of them will do
		}
		var file unstructured.Unstructured
		if err := yaml.Unmarshal([]byte(text), &file.Object); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		live := get(t.Context(), t, client, &file)
		if !within(file.Object, live) {
			t.Errorf("%s is not what the API server has:\n%s\n%v", path, text, live)
		}
	}
}

// get reads an object with nothing of refit: by the plural that the API server's own discovery has.
func get(ctx context.Context, t *testing.T, client *kubernetes.Clientset, file *unstructured.Unstructured) any {
	t.Helper()
	gv := file.GroupVersionKind().GroupVersion()
	list, err := client.Discovery().ServerResourcesForGroupVersion(gv.String())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(list.APIResources, func(r metav1.APIResource) bool { return r.Kind == file.GetKind() && !strings.Contains(r.Name, "/") })
	root := "/apis/" + gv.String()
	if gv.Group == "" {
		root = "/api/" + gv.Version
	}
	request := client.RESTClient().Get().AbsPath(root)
	if file.GetNamespace() != "" {
		request = request.Namespace(file.GetNamespace())
	}
	text, err := request.Resource(list.APIResources[i].Name).Name(file.GetName()).SetHeader("Accept", "application/json").DoRaw(ctx)
	if err != nil {
		t.Fatalf("%s %s: %v", file.GetKind(), file.GetName(), err)
	}
	var live any
	if err := yaml.Unmarshal(text, &live); err != nil {
		t.Fatal(err)
	}
	return live
}

// within tells whether all of a is in b.
func within(a, b any) bool {
	switch a := a.(type) {
	case map[string]any:
		b, ok := b.(map[string]any)
		for k, v := range a {
			if !ok || !within(v, b[k]) {
				return false
			}
		}
		return ok
	case []any:
		b, ok := b.([]any)
		return ok && slices.EqualFunc(a, b, within)
	}
	return fmt.Sprint(a) == fmt.Sprint(b)
}

// filesOf are the files of a directory but for the index, by path.
func filesOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || d.Name() == IndexName {
			return err
		}
		text, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		files[filepath.ToSlash(name)] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
