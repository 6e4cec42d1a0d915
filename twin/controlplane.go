// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package twin

import (
	"embed"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"refit.dev/refit/twin/simulated"
)

//go:embed manifests/*.yaml
var manifests embed.FS

// supervisorConfig is twin.json, which `refit-twin supervise` reads (its type
// config; it refuses fields that it does not know).
type supervisorConfig struct {
	Children []childConfig `json:"children"`
	Machines machineConfig `json:"machines"`
}

// childConfig is one program of refit-twin. It is ready when ReadyURL answers
// 200 over TLS with the three files, or at once if there is none.
type childConfig struct {
	Name     string   `json:"name"`
	Args     []string `json:"args"`
	Env      []string `json:"env,omitempty"`
	ReadyURL string   `json:"readyURL,omitempty"`
	Follows  string   `json:"follows,omitempty"`
	CAFile   string   `json:"caFile,omitempty"`
	CertFile string   `json:"certFile,omitempty"`
	KeyFile  string   `json:"keyFile,omitempty"`
}

// machineConfig configures the machine controller of refit-twin.
type machineConfig struct {
	Kubeconfig           string `json:"kubeconfig"`
	KubeletsKubeconfig   string `json:"kubeletsKubeconfig"`
	RebootTime           string `json:"rebootTime"`
	LeaseDuration        string `json:"leaseDuration"`
	KubeletLabel         string `json:"kubeletLabel"`
	TendedLabel          string `json:"tendedLabel"`
	Running              string `json:"running"`
	Rebooting            string `json:"rebooting"`
	RebootAnnotation     string `json:"rebootAnnotation"`
	RebootTimeAnnotation string `json:"rebootTimeAnnotation"`
	DownSinceAnnotation  string `json:"downSinceAnnotation"`
}

// supervisorConfig returns what shall run, listening at p.
func (t *Twin) supervisorConfig(o Options, p ports) supervisorConfig {
	crt := func(name string) string { return t.path("pki", name+".crt") }
	key := func(name string) string { return t.path("pki", name+".key") }
	children := []childConfig{
		{
			Name: "etcd", Args: t.etcdArgs(p),
			ReadyURL: fmt.Sprintf("https://127.0.0.1:%d/health", p.Etcd),
			CAFile:   crt("etcd-ca"), CertFile: crt("etcd-client"), KeyFile: key("etcd-client"),
		},
		{
			Name: "kube-apiserver", Args: t.apiServerArgs(o, p),
			ReadyURL: serverURL(p.API) + "/readyz",
			CAFile:   crt("ca"), CertFile: crt("machines"), KeyFile: key("machines"),
		},
		{Name: "kube-controller-manager", Args: t.controllerManagerArgs(o)},
		{Name: "kube-scheduler", Args: t.schedulerArgs(o)},
		// kwok gives up what it could not do while the API server was away, where a
		// kubelet tries again; started anew it looks at everything.
		{Name: "kwok", Args: t.kwokArgs(), Follows: "kube-apiserver"},
	}
	for i := range children {
		children[i].Env = environment(o)
	}
	return supervisorConfig{
		Children: children,
		Machines: machineConfig{
			Kubeconfig:           t.kubeconfig("machines"),
			KubeletsKubeconfig:   t.kubeconfig("kwok"),
			RebootTime:           o.Reboot.String(),
			LeaseDuration:        o.lease().String(),
			KubeletLabel:         simulated.KubeletLabel,
			TendedLabel:          simulated.TendedLabel,
			Running:              simulated.KubeletRunning,
			Rebooting:            simulated.KubeletRebooting,
			RebootAnnotation:     simulated.RebootAnnotation,
			RebootTimeAnnotation: simulated.RebootTimeAnnotation,
			DownSinceAnnotation:  simulated.DownSinceAnnotation,
		},
	}
}

// environment is that of every component. Those of a twin that is not large have
// memory to spare: their heaps grow to four times what is in use before it is
// collected, where Go's default is twice. Maintaining 50 nodes then took their
// processes 66 to 75 s of CPU time, where it had been 74 to 81 s. The price, for the
// 12 nodes of the shop: 1.18 GiB of memory (the sum of RSS; 0.72 GiB if what they
// share is counted once), where it had been 1.03 GiB (0.56), and 1.35 GiB (0.89)
// after all nodes were maintained, where it had been 1.05 GiB (0.58).
func environment(o Options) []string {
	if o.Nodes > largeTwin {
		return nil
	}
	return []string{"GOGC=300"}
}

// largeTwin is how many nodes make a twin one whose memory counts.
const largeTwin = 200

func (t *Twin) etcdArgs(p ports) []string {
	client, peer := etcdURLs(p)
	return []string{
		"etcd", "--name=" + etcdName, "--data-dir=" + t.path("etcd"), "--logger=zap", "--log-level=warn",
		"--listen-client-urls=" + client, "--advertise-client-urls=" + client,
		"--client-cert-auth", "--trusted-ca-file=" + t.path("pki", "etcd-ca.crt"),
		"--cert-file=" + t.path("pki", "etcd.crt"), "--key-file=" + t.path("pki", "etcd.key"),
		"--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer, "--initial-cluster=" + etcdName + "=" + peer,
		"--peer-client-cert-auth", "--peer-trusted-ca-file=" + t.path("pki", "etcd-ca.crt"),
		"--peer-cert-file=" + t.path("pki", "etcd.crt"), "--peer-key-file=" + t.path("pki", "etcd.key"),
		// What a killed process wrote stays in the page cache; only a power
		// failure could lose it, and a twin is not worth the syncs.
		"--unsafe-no-fsync",
		"--quota-backend-bytes=8589934592",
	}
}

func (t *Twin) apiServerArgs(o Options, p ports) []string {
	pki := func(file string) string { return t.path("pki", file) }
	args := []string{
		"kube-apiserver", "--bind-address=127.0.0.1", "--secure-port=" + strconv.Itoa(p.API),
		"--tls-cert-file=" + pki("kube-apiserver.crt"), "--tls-private-key-file=" + pki("kube-apiserver.key"),
		"--client-ca-file=" + pki("ca.crt"), "--anonymous-auth=false", "--authorization-mode=RBAC",
		fmt.Sprintf("--etcd-servers=https://127.0.0.1:%d", p.Etcd),
		"--etcd-cafile=" + pki("etcd-ca.crt"), "--etcd-certfile=" + pki("etcd-client.crt"), "--etcd-keyfile=" + pki("etcd-client.key"),
		"--service-cluster-ip-range=10.96.0.0/16",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + pki("service-accounts.key"), "--service-account-signing-key-file=" + pki("service-accounts.key"),
		// The service "kubernetes" may not point at a loopback address.
		"--endpoint-reconciler-type=none",
		"--allow-privileged=true", "--profiling=false", "--cert-dir=" + t.path("pki"),
		"--audit-policy-file=" + t.path("audit.yaml"), "--audit-log-path=" + t.AuditLog(),
		// Whoever was answered is in the log, also after kill -9: the log is evidence.
		"--audit-log-mode=blocking",
		// In megabytes: a witness reads one file, and half an hour of 1,000 pods fills 100.
		"--audit-log-maxsize=1000", "--audit-log-maxbackup=1",
	}
	return slices.Concat(args, emulate(o), o.tolerationArgs(), o.APIServerArgs)
}

func (t *Twin) controllerManagerArgs(o Options) []string {
	args := []string{
		"kube-controller-manager", "--kubeconfig=" + t.kubeconfig("kube-controller-manager"),
		"--use-service-account-credentials=true",
		"--service-account-private-key-file=" + t.path("pki", "service-accounts.key"),
		"--root-ca-file=" + t.path("pki", "ca.crt"),
		"--leader-elect=false", "--secure-port=0", "--profiling=false",
		"--kube-api-qps=1000", "--kube-api-burst=2000",
	}
	return slices.Concat(args, emulate(o), o.monitorArgs(), o.ControllerManagerArgs)
}

func (t *Twin) schedulerArgs(o Options) []string {
	args := []string{"kube-scheduler", "--config=" + t.path("scheduler.yaml"), "--secure-port=0"}
	return slices.Concat(args, emulate(o), o.SchedulerArgs)
}

func (t *Twin) kwokArgs() []string {
	return []string{
		"kwok", "--kubeconfig=" + t.kubeconfig("kwok"), "--config=" + t.path("kwok.yaml"),
		"--manage-nodes-with-label-selector=" + simulated.TendedLabel + "=true",
		// The machine controller renews the leases. kwok would take its own for the
		// right to manage a node, and lose pods while it does not see it.
		"--node-lease-duration-seconds=0",
	}
}

// emulate makes a component behave as the minor version. All of them must get
// the same: a newer scheduler would wait for types that the API server does not serve.
func emulate(o Options) []string {
	if all := Versions(); o.Kubernetes == all[len(all)-1] {
		return nil
	}
	return []string{"--emulated-version=" + o.Kubernetes}
}

// writeConfigs writes what the components read, but for certificates and kubeconfigs; the
// supervisor is told of the components only, or with nil of all.
func (t *Twin) writeConfigs(o Options, p ports, only []string) error {
	ms := func(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }
	values := strings.NewReplacer(
		"${podReady}", ms(o.PodReady), "${podTermination}", ms(o.PodTermination),
		"${jobComplete}", ms(o.JobComplete), "${volumeDetach}", ms(o.VolumeDetach),
		"${kubeconfig}", strconv.Quote(t.kubeconfig("kube-scheduler")),
	)
	for _, name := range []string{"audit.yaml", "kwok.yaml", "scheduler.yaml"} {
		data, err := manifests.ReadFile("manifests/" + name)
		if err != nil {
			return err
		}
		if err := os.WriteFile(t.path(name), []byte(values.Replace(string(data))), 0o600); err != nil {
			return fmt.Errorf("write the twin's configuration: %w", err)
		}
	}
	config := t.supervisorConfig(o, p)
	if only != nil {
		config.Children = slices.DeleteFunc(config.Children, func(c childConfig) bool { return !slices.Contains(only, c.Name) })
	}
	return writeJSON(t.path("twin.json"), config)
}

// writeJSON replaces the file path as a whole.
func writeJSON(path string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	tmp := path + ".tmp"
	if err := os.WriteFile(tmp, append(data, '\n'), 0o600); err != nil {
		return fmt.Errorf("write the twin's data: %w", err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("write the twin's data: %w", err)
	}
	return nil
}
