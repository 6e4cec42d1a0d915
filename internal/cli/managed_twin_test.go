// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"refit.dev/refit/internal/statedir"
	"refit.dev/refit/provider"
	"refit.dev/refit/twin"
	"refit.dev/refit/twin/simulated"
	"refit.dev/refit/twin/twintest"
)

// cloudEnv makes the test's program the command of a cloud that runs a control plane and makes nodes.
const cloudEnv = "REFIT_TEST_CLOUD"

// cloud keeps in a directory what it has done: version is what its API server says, machines.json its nodes.
type cloud struct{ Dir, Kubeconfig string }

// serve answers one question of refit.
func (c cloud) serve() error {
	var q struct {
		Action  string
		Order   *provider.Order
		Machine *provider.Machine
		Upgrade *provider.Raise
	}
	input, err := io.ReadAll(os.Stdin)
	if err == nil {
		err = json.Unmarshal(input, &q)
	}
	if err != nil {
		return err
	}
	var machines []provider.Machine
	file := filepath.Join(c.Dir, "machines.json")
	if text, err := os.ReadFile(file); err == nil {
		if err := json.Unmarshal(text, &machines); err != nil {
			return err
		}
	}
	answer := map[string]any{}
	switch q.Action {
	case "list":
		answer["machines"] = append([]provider.Machine{}, machines...)
	case "upgrade":
		if q.Upgrade.From != "v1.36.3-cloud.7" || q.Upgrade.To != "v1.37" {
			return fmt.Errorf("from %s to %s", q.Upgrade.From, q.Upgrade.To)
		}
		return os.WriteFile(filepath.Join(c.Dir, "version"), []byte("v1.37.2-cloud.9"), 0o600)
	case "delete":
		machines = slices.DeleteFunc(machines, func(m provider.Machine) bool { return m.ID == q.Machine.ID })
	case "create":
		m := provider.Machine{Key: q.Order.Key, ID: "vm-" + q.Order.Key, Node: q.Order.Key}
		machines, answer["machine"] = append(machines, m), m
		err = c.join(q.Order)
	}
	text, err2 := json.Marshal(machines)
	if err := errors.Join(err, err2); err != nil {
		return err
	}
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(answer)
}

// join makes the Node of a machine, as its kubelet would: of a patch that the cloud has chosen.
func (c cloud) join(o *provider.Order) error {
	config, err := clientcmd.BuildConfigFromFlags("", c.Kubeconfig)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	ctx := context.Background()
	like, err := client.CoreV1().Nodes().Get(ctx, o.Like.Node, metav1.GetOptions{})
	if err != nil {
		return err
	}
	fresh := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: o.Key, Labels: map[string]string{
		corev1.LabelHostname: o.Key, corev1.LabelOSStable: "linux", simulated.KubeletLabel: simulated.KubeletRunning, simulated.TendedLabel: "true",
	}}, Status: like.Status}
	fresh.Status.NodeInfo.KubeletVersion, fresh.Status.NodeInfo.BootID, fresh.Status.Conditions = o.Version+".1-cloud.3", "boot-"+o.Key, nil
	_, err = client.CoreV1().Nodes().Create(ctx, fresh, metav1.CreateOptions{})
	return err
}

// front is an API server that says of its version what the cloud does, and is the twin otherwise.
func front(t *testing.T, tw *twin.Twin, c cloud) (kubeconfig string) {
	t.Helper()
	config := twintest.Config(t, tw)
	transport, err := rest.TransportFor(config)
	if err != nil {
		t.Fatal(err)
	}
	target, err := url.Parse(config.Host)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }, Transport: transport, FlushInterval: -1}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/version" {
			proxy.ServeHTTP(w, r)
			return
		}
		says, err := os.ReadFile(filepath.Join(c.Dir, "version"))
		if err != nil {
			t.Error(err)
		}
		minor := strings.Split(string(says), ".")[1]
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"major": "1", "minor": %q, "gitVersion": %q}`, minor, says)
	}))
	t.Cleanup(server.Close)
	kubeconfig = filepath.Join(c.Dir, "kubeconfig")
	text := fmt.Sprintf("{apiVersion: v1, kind: Config, current-context: c, contexts: [{name: c, context: {cluster: c, user: u}}], clusters: [{name: c, cluster: {server: %q}}], users: [{name: u, user: {}}]}", server.URL)
	if err := os.WriteFile(kubeconfig, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return kubeconfig
}

// TestUpgradeManagedApply raises a control plane that is a cloud's, and has its nodes give way.
func TestUpgradeManagedApply(t *testing.T) {
	tw := twintest.Start(t, twin.Options{Nodes: 2, Kubernetes: "1.36", Wait: true})
	client := twintest.Client(t, tw)
	c := cloud{Dir: t.TempDir(), Kubeconfig: tw.Kubeconfig()}
	if err := os.WriteFile(filepath.Join(c.Dir, "version"), []byte("v1.36.3-cloud.7"), 0o600); err != nil {
		t.Fatal(err)
	}
	nodes := func() (list []corev1.Node) {
		found, err := client.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return found.Items
	}
	var machines []provider.Machine
	for _, n := range nodes() {
		machines = append(machines, provider.Machine{ID: "vm-" + n.Name, Node: n.Name})
	}
	text, err := json.Marshal(machines)
	if err == nil {
		err = os.WriteFile(filepath.Join(c.Dir, "machines.json"), text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	self, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	command, err := json.Marshal([]string{"env", cloudEnv + "=" + string(self), os.Args[0]})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(c.Dir, "provider.yaml")
	config := fmt.Sprintf("apiVersion: refit.dev/v1alpha1\nkind: Provider\njoin: own\ncreate: {command: %[1]s}\ndelete: {command: %[1]s}\nlist: {command: %[1]s}\nupgrade: {command: %[1]s}\n", command)
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBECONFIG", front(t, tw, c))
	t.Setenv(statedir.Env, t.TempDir())
	out, errw, code := refit(t, "upgrade", "apply", "--to", "v1.37", "--method", "managed", "--strategy", "replace", "--provider", file, "--yes")
	t.Logf("%s\n%s", errw, out)
	if code != exitDone || !strings.Contains(errw, "control plane: it says v1.36.3-cloud.7; the provider is asked for v1.37") || !strings.Contains(errw, "control plane: it says v1.37.2-cloud.9") {
		t.Fatalf("exit %d", code)
	}
	if strings.Index(errw, "it says v1.37.2-cloud.9") > strings.Index(errw, "cordoning") {
		t.Error("a node was cordoned before the control plane was there")
	}
	left := nodes()
	if len(left) != 2 {
		t.Errorf("%d nodes", len(left))
	}
	for i := range left {
		if n := &left[i]; n.Status.NodeInfo.KubeletVersion != "v1.37.1-cloud.3" || slices.ContainsFunc(machines, func(m provider.Machine) bool { return m.Node == n.Name }) {
			t.Errorf("node %s with a kubelet of %s", n.Name, n.Status.NodeInfo.KubeletVersion)
		}
	}
	out, errw, code = refit(t, "runs", "show")
	t.Logf("%s\n%s", out, errw)
	if code != exitDone || !strings.Contains(out, "managed control plane to v1.37") || !strings.Contains(out, "machines:         2 made, 2 removed, 0 owed") {
		t.Errorf("exit %d, %s", code, out)
	}
}
