// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package etcd_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	clientsnapshot "go.etcd.io/etcd/client/v3/snapshot"
	"go.etcd.io/etcd/etcdutl/v3/snapshot"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/utils/clock"

	"refit.dev/refit/etcd"
	"refit.dev/refit/etcd/etcdtest"
)

// TestMain is also what the processes do that tests start and kill.
func TestMain(m *testing.M) {
	for variable, do := range map[string]func(string) error{saveEnv: saveAndDie, verifyEnv: verifyAndDie} {
		if text := os.Getenv(variable); text != "" {
			if err := do(text); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			os.Exit(0)
		}
	}
	os.Exit(etcdtest.Main(m.Run))
}

// put writes a key.
func put(t testing.TB, e *etcdtest.Etcd, key, value string) {
	t.Helper()
	if _, err := e.Client.Put(t.Context(), key, value); err != nil {
		t.Fatal(err)
	}
}

// stored is an object as the API server stores it.
func stored(t testing.TB, o runtime.Object) string {
	t.Helper()
	encoder := scheme.Codecs.EncoderForVersion(protobuf.NewSerializer(scheme.Scheme, scheme.Scheme), corev1.SchemeGroupVersion)
	text, err := runtime.Encode(encoder, o)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// fill writes what a cluster could have: objects of several kinds, deletions, other keys, a
// lease, and a compacted part of the history.
func fill(t testing.TB, e *etcdtest.Etcd) {
	t.Helper()
	for i := range 300 {
		name := fmt.Sprintf("pod-%03d", i)
		put(t, e, "/registry/pods/default/"+name, stored(t, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default"}}))
	}
	put(t, e, "/registry/services/specs/default/web", stored(t, &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "web"}}))
	put(t, e, "/registry/services/endpoints/default/web", stored(t, &corev1.Endpoints{ObjectMeta: metav1.ObjectMeta{Name: "web"}})) //nolint:staticcheck // API servers store them still
	put(t, e, "/registry/example.com/things/default/one", `{"apiVersion":"example.com/v1","kind":"Thing","metadata":{"name":"one"}}`)
	put(t, e, "/registry/secrets/default/s", "k8s:enc:aesgcm:v1:key1:xxxx")
	put(t, e, "compact_rev_key", "1")
	put(t, e, "/registry/pods/default/pod-001", stored(t, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "pod-001", Labels: map[string]string{"a": "b"}}}))
	gone, err := e.Client.Delete(t.Context(), "/registry/pods/default/pod-002")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Client.Compact(t.Context(), gone.Header.Revision, clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
	put(t, e, "/registry/pods/default/pod-003", stored(t, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "pod-003", Labels: map[string]string{"a": "b"}}}))
	if _, err := e.Client.Delete(t.Context(), "/registry/pods/default/pod-004"); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Client.Grant(t.Context(), 3600); err != nil {
		t.Fatal(err)
	}
}

// save has refit save a snapshot.
func save(t testing.TB, e *etcdtest.Etcd) (*etcd.Saved, string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "snapshot.db")
	saved, err := etcd.Saver{Access: e.Access(), Worker: etcdtest.Worker(t), Clock: clock.RealClock{}}.Save(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	return saved, file
}

func TestSaveStatusVerify(t *testing.T) {
	e := etcdtest.Start(t)
	fill(t, e)
	saved, file := save(t, e)
	worker := etcdtest.Worker(t)
	status, err := worker.Status(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	sameAsEtcdutl(t, file, status)
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != 0o600 || info.Size() != saved.Bytes || saved.SHA256 != status.SHA256 || saved.Revision != status.Revision || saved.Member != "etcd-test" {
		t.Errorf("the file has mode %s and %d bytes; saved %+v", info.Mode(), info.Size(), saved)
	}
	var got []string
	for _, r := range status.Resources {
		got = append(got, fmt.Sprintf("%s/%s %d enc=%d", r.Group, r.Name, r.Objects, r.Encrypted))
	}
	want := []string{"/endpoints 1 enc=0", "/pods 298 enc=0", "/secrets 1 enc=1", "/services 1 enc=0", "example.com/things 1 enc=0"}
	if !slices.Equal(got, want) {
		t.Errorf("resources %q, want %q", got, want)
	}
	if status.Keys != 303 || status.OtherKeys != 1 || status.Leases != 1 || len(status.Members) != 1 || status.Members[0].Name != "etcd-test" || status.CompactRevision < 300 {
		t.Errorf("got %+v", status)
	}
	live, err := e.Client.HashKV(t.Context(), e.Endpoint, status.Revision)
	if err != nil {
		t.Fatal(err)
	}
	if live.Hash != status.HashKV || live.CompactRevision != status.CompactRevision {
		t.Errorf("HashKV %08x at compaction %d, want %08x at %d", status.HashKV, status.CompactRevision, live.Hash, live.CompactRevision)
	}

	scratch := t.TempDir()
	proof, err := worker.Verify(t.Context(), file, scratch)
	if err != nil {
		t.Fatal(err)
	}
	if proof.HashKV != live.Hash || proof.Keys != 303 || proof.Decoded != 301 || proof.Encrypted != 1 || proof.Unknown != 0 || proof.Etcd == "" {
		t.Errorf("proof %+v", proof)
	}
	empty(t, scratch)
}

// sameAsEtcdutl compares with what etcd's own tool says.
func sameAsEtcdutl(t *testing.T, file string, got *etcd.Status) {
	t.Helper()
	want, err := snapshot.NewV3(zap.NewNop()).Status(file)
	if err != nil {
		t.Fatal(err)
	}
	as := func(v any) (s snapshot.Status) {
		text, err := json.Marshal(v)
		if err == nil {
			err = json.Unmarshal(text, &s)
		}
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	if as(got) != want {
		t.Errorf("status %+v, etcdutl says %+v", as(got), want)
	}
}

func empty(t *testing.T, dir string) {
	t.Helper()
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		t.Errorf("left in %s: %v %v", dir, left, err)
	}
}

func TestStatusOfNothing(t *testing.T) {
	e := etcdtest.Start(t)
	_, file := save(t, e)
	status, err := etcdtest.Worker(t).Status(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	sameAsEtcdutl(t, file, status)
	if _, err := etcdtest.Worker(t).Verify(t.Context(), file, t.TempDir()); err != nil {
		t.Error(err)
	}
}

// TestBothWays restores refit's file with etcd's library, and that's with refit, and
// compares what the restored members have.
func TestBothWays(t *testing.T) {
	e := etcdtest.Start(t)
	fill(t, e)
	saved, ours := save(t, e)
	theirs := filepath.Join(t.TempDir(), "theirs.db")
	if _, err := clientsnapshot.SaveWithVersion(t.Context(), zap.NewNop(), clientv3.Config{Endpoints: []string{e.Endpoint}}, theirs); err != nil {
		t.Fatal(err)
	}
	status, err := etcdtest.Worker(t).Status(t.Context(), theirs)
	if err != nil {
		t.Fatal(err)
	}
	sameAsEtcdutl(t, theirs, status)
	const peer = "http://127.0.0.1:1"
	dirs := map[string]string{"etcd": filepath.Join(t.TempDir(), "data"), "refit": filepath.Join(t.TempDir(), "data"), "bumped": filepath.Join(t.TempDir(), "data")}
	if err := snapshot.NewV3(zap.NewNop()).Restore(snapshot.RestoreConfig{
		SnapshotPath: ours, Name: "m", OutputDataDir: dirs["etcd"], PeerURLs: []string{peer}, InitialCluster: "m=" + peer, InitialClusterToken: "t",
	}); err != nil {
		t.Fatal(err)
	}
	r := etcd.Restore{DataDir: dirs["refit"], Name: "m", PeerURLs: []string{peer}, InitialCluster: "m=" + peer, Token: "t"}
	if err := etcdtest.Worker(t).Restore(t.Context(), theirs, r); err != nil {
		t.Fatal(err)
	}
	r.DataDir, r.BumpRevision = dirs["bumped"], 1_000_000_000
	if err := etcdtest.Worker(t).Restore(t.Context(), theirs, r); err != nil {
		t.Fatal(err)
	}
	if err := etcdtest.Worker(t).Restore(t.Context(), theirs, r); err == nil || !strings.Contains(err.Error(), "file already exists") {
		t.Errorf("restored over a data directory: %v", err)
	}
	hashes := map[string]uint32{}
	for name, dir := range dirs {
		restored := etcdtest.Start(t, func(c *embed.Config) {
			c.Dir, c.Name, c.InitialCluster = dir, "m", "m="+c.AdvertisePeerUrls[0].String()
		})
		all, err := restored.Client.Get(t.Context(), "", clientv3.WithPrefix(), clientv3.WithCountOnly())
		if err != nil {
			t.Fatal(err)
		}
		hash, err := restored.Client.HashKV(t.Context(), restored.Endpoint, 0)
		if err != nil {
			t.Fatal(err)
		}
		hashes[name] = hash.Hash
		want := saved.Revision
		if name == "bumped" {
			want += 1_000_000_000
			if hash.CompactRevision != want {
				t.Errorf("bumped: compacted up to %d, want %d", hash.CompactRevision, want)
			}
		}
		if all.Header.Revision != want || all.Count != 303 {
			t.Errorf("%s: revision %d and %d keys, want %d and 303", name, all.Header.Revision, all.Count, want)
		}
	}
	if hashes["etcd"] != hashes["refit"] {
		t.Errorf("hashes %v", hashes)
	}
}

func TestSaveRefuses(t *testing.T) {
	e := etcdtest.Start(t)
	dir := t.TempDir()
	there := filepath.Join(dir, "there")
	if err := os.WriteFile(there, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	saver := etcd.Saver{Access: e.Access(), Worker: etcdtest.Worker(t), Clock: clock.RealClock{}}
	cancelled, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("enough"))
	other := saver
	other.Access.Endpoints = []string{"127.0.0.1:1"}
	scheme := saver
	scheme.Access.Endpoints = []string{"ftp://x:1"}
	for name, c := range map[string]struct {
		ctx   context.Context
		saver etcd.Saver
		file  string
		want  string
	}{
		"there":        {t.Context(), saver, there, "file already exists"},
		"no directory": {t.Context(), saver, filepath.Join(dir, "no", "file"), "no such file or directory"},
		"nobody":       {t.Context(), other, filepath.Join(dir, "f"), "connection refused"},
		"scheme":       {t.Context(), scheme, filepath.Join(dir, "f"), "want http://HOST:PORT"},
		"cancelled":    {cancelled, saver, filepath.Join(dir, "f"), "enough"},
	} {
		if _, err := c.saver.Save(c.ctx, c.file); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	left, err := os.ReadDir(dir)
	if text, readErr := os.ReadFile(there); err != nil || len(left) != 1 || readErr != nil || !bytes.Equal(text, []byte("mine")) {
		t.Errorf("left %v, %v; %q", left, err, text)
	}
}
