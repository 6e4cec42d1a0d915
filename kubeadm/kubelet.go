// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package kubeadm

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	"refit.dev/refit/host"
	"refit.dev/refit/host/service"
	"refit.dev/refit/skew"
)

// Kubelet is the kubelet of a host: the program on its disk and the process.
type Kubelet struct {
	// Installed is the version of the program that would be started now; zero if there
	// is none.
	Installed skew.Version `json:"installed,omitzero"`
	// Running is the version of the process, asked of its own program, which may have
	// been replaced on the disk; zero if none runs.
	Running skew.Version `json:"running,omitzero"`
	// Replaced tells that the process's program was replaced on the disk since it was
	// started.
	Replaced bool `json:"replaced,omitempty"`
	// PID is 0 if no kubelet runs.
	PID int `json:"pid,omitempty"`
	// Up is for how long the process runs.
	Up time.Duration `json:"up,omitempty"`
	// Started is when it was started, by the host's clock, to the second; zero if that is
	// not known.
	Started time.Time `json:"started,omitzero"`
	// Active is systemd's ActiveState and SubState: active (running).
	Active string `json:"active"`
	// Restarts is how often systemd restarted it by itself.
	Restarts int `json:"restarts,omitempty"`
	// NeedsReload tells that systemd has not read its unit files since they changed.
	NeedsReload bool `json:"needsReload,omitempty"`
	// Flags are the command line's flags, "--name=value", as the process has them, else
	// as kubeadm-flags.env and the operator's file have them.
	Flags []string `json:"flags,omitempty"`
	// OperatorFlags are those that do not come from kubeadm.
	OperatorFlags []string `json:"operatorFlags,omitempty"`
	// Config is the path of its configuration.
	Config string `json:"config,omitempty"`
	// Gates are the feature gates set in configuration and flags.
	Gates map[string]bool `json:"gates,omitempty"`
	// FailCgroupV1 is what the configuration says; nil if it says nothing.
	FailCgroupV1 *bool `json:"failCgroupV1,omitempty"`
	// EvictionHard is what the configuration says of it: imagefs.available: 15%.
	EvictionHard map[string]string `json:"evictionHard,omitempty"`
	// CRI is the runtime's endpoint: unix:///run/containerd/containerd.sock.
	CRI string `json:"cri,omitempty"`
}

// Directories of kubeadm's and the kubelet's.
const (
	kubeletConfig = "/var/lib/kubelet/config.yaml"
	kubeletFlags  = "/var/lib/kubelet/kubeadm-flags.env"
	defaultCRI    = "unix:///var/run/containerd/containerd.sock" // kubeadm's constant
)

// kubelet looks at the kubelet.
func (r *reader) kubelet(ctx context.Context) (*Kubelet, error) {
	k := &Kubelet{Config: kubeletConfig}
	result, err := r.run(ctx, "kubelet", "--version")
	if err != nil {
		return nil, err
	}
	if result.Code == 0 {
		if k.Installed, err = parseKubeletVersion(string(result.Stdout)); err != nil {
			return nil, err
		}
	} else if result.Code != notFound {
		r.gap("the kubelet's version: %v", host.Succeed(result, nil))
	}
	// In UTC, as only that can be read back for certain.
	show, err := r.m.Exec(ctx, []string{
		"systemctl", "show", "--property=ActiveState,SubState,MainPID,NRestarts,NeedDaemonReload,ExecMainStartTimestamp", "--", "kubelet.service",
	}, host.ExecOptions{Env: []string{"TZ=UTC"}})
	if err = host.Succeed(show, err); err != nil {
		return nil, fmt.Errorf("run systemctl: %w", err)
	}
	k.parseShow(string(show.Stdout))
	if k.PID > 0 {
		if err := r.process(ctx, k); err != nil {
			return nil, err
		}
	}
	if err := r.kubeletFlags(ctx, k); err != nil {
		return nil, err
	}
	if path := flagValue(k.Flags, "config"); path != "" {
		k.Config = path
	}
	configs := []string{k.Config}
	if dir := flagValue(k.Flags, "config-dir"); dir != "" { // drop-ins, later ones win
		more, err := r.find(ctx, dir, "-type", "f", "-name", "*.conf")
		if err != nil {
			return nil, err
		}
		slices.Sort(more)
		configs = append(configs, more...)
	}
	for _, path := range configs {
		text, _, err := r.file(ctx, path)
		if err != nil {
			return nil, err
		}
		if err := k.parseConfig(text); err != nil {
			r.gap("%s: %v", path, err)
		}
	}
	k.flagGates()
	if endpoint := flagValue(k.Flags, "container-runtime-endpoint"); endpoint != "" {
		k.CRI = endpoint
	}
	if k.CRI == "" {
		k.CRI = defaultCRI
	}
	if !strings.Contains(k.CRI, "://") {
		k.CRI = "unix://" + k.CRI
	}
	return k, nil
}

// kubeletFlags looks at the files from which systemd takes the kubelet's flags; see
// https://kubernetes.io/docs/setup/production-environment/tools/kubeadm/kubelet-integration/.
func (r *reader) kubeletFlags(ctx context.Context, k *Kubelet) error {
	var all []string
	for _, path := range []string{kubeletFlags, "/etc/default/kubelet", "/etc/sysconfig/kubelet"} {
		text, _, err := r.file(ctx, path)
		if err != nil {
			return err
		}
		flags := parseEnvFlags(text)
		all = append(all, flags...)
		if path != kubeletFlags {
			k.OperatorFlags = append(k.OperatorFlags, flags...)
		}
	}
	if len(k.Flags) == 0 {
		k.Flags = all
	}
	return nil
}

// process looks at the running kubelet.
func (r *reader) process(ctx context.Context, k *Kubelet) error {
	exe := fmt.Sprintf("/proc/%d/exe", k.PID)
	link, err := r.run(ctx, "readlink", exe)
	if err != nil {
		return err
	}
	if link.Code != 0 { // it ended in between
		k.PID = 0
		return nil
	}
	k.Replaced = strings.HasSuffix(strings.TrimSpace(string(link.Stdout)), " (deleted)")
	// The program that the process was started from can be run by this name even if
	// the package manager has put another in its place.
	version, err := r.run(ctx, exe, "--version")
	if err != nil {
		return err
	}
	if version.Code == 0 {
		if k.Running, err = parseKubeletVersion(string(version.Stdout)); err != nil {
			return err
		}
	} else {
		r.gap("the running kubelet's version: %v", host.Succeed(version, nil))
	}
	up, ok, err := r.maybe(ctx, "since when the kubelet runs", "ps", "-o", "etimes=", "-p", strconv.Itoa(k.PID))
	if err != nil {
		return err
	}
	if seconds, parseErr := strconv.Atoi(strings.TrimSpace(up)); ok && parseErr == nil {
		k.Up = time.Duration(seconds) * time.Second
	}
	line, _, err := r.file(ctx, fmt.Sprintf("/proc/%d/cmdline", k.PID))
	if err != nil {
		return err
	}
	if words := strings.Split(strings.TrimRight(line, "\x00"), "\x00"); len(words) > 1 {
		k.Flags = service.Flags(words[1:])
	}
	return nil
}

// parseKubeletVersion reads "Kubernetes v1.37.2".
func parseKubeletVersion(text string) (skew.Version, error) {
	for _, line := range lines(text) {
		if version, found := strings.CutPrefix(line, "Kubernetes "); found {
			return skew.Parse(version)
		}
	}
	return skew.Version{}, fmt.Errorf("kubelet --version says %.80q: want a line such as Kubernetes v1.37.2", text)
}

func (k *Kubelet) parseShow(text string) {
	p := map[string]string{}
	for _, line := range lines(text) {
		name, value, _ := strings.Cut(line, "=")
		p[name] = value
	}
	k.Active = p["ActiveState"] + " (" + p["SubState"] + ")"
	k.PID, _ = strconv.Atoi(p["MainPID"])
	k.Restarts, _ = strconv.Atoi(p["NRestarts"])
	k.NeedsReload = p["NeedDaemonReload"] == "yes"
	if at, err := time.Parse("Mon 2006-01-02 15:04:05 MST", p["ExecMainStartTimestamp"]); err == nil && k.PID > 0 {
		k.Started = at.UTC()
	}
}

// parseEnvFlags reads the flags in the variables of an environment file, such as
// KUBELET_KUBEADM_ARGS="--node-ip=10.0.0.1".
func parseEnvFlags(text string) []string {
	var flags []string
	for _, line := range lines(text) {
		name, value, found := strings.Cut(line, "=")
		if !found || strings.HasPrefix(line, "#") || !strings.HasPrefix(name, "KUBELET_") {
			continue
		}
		flags = append(flags, service.Flags(strings.Fields(strings.Trim(value, `"'`)))...)
	}
	return flags
}

// flagValue returns the last value of a flag; "" if it is not set.
func flagValue(flags []string, name string) string {
	value := ""
	for _, flag := range flags {
		if v, found := strings.CutPrefix(flag, "--"+name+"="); found {
			value = v
		}
	}
	return value
}

// parseConfig takes from a KubeletConfiguration what matters here.
func (k *Kubelet) parseConfig(text string) error {
	var c struct {
		FeatureGates             map[string]bool   `json:"featureGates"`
		FailCgroupV1             *bool             `json:"failCgroupV1"`
		ContainerRuntimeEndpoint string            `json:"containerRuntimeEndpoint"`
		EvictionHard             map[string]string `json:"evictionHard"`
	}
	if err := yaml.Unmarshal([]byte(text), &c); err != nil {
		return fmt.Errorf("read the kubelet's configuration: %w", err)
	}
	for gate, on := range c.FeatureGates {
		k.setGate(gate, on)
	}
	if c.FailCgroupV1 != nil {
		k.FailCgroupV1 = c.FailCgroupV1
	}
	if len(c.EvictionHard) > 0 {
		k.EvictionHard = c.EvictionHard
	}
	if c.ContainerRuntimeEndpoint != "" {
		k.CRI = c.ContainerRuntimeEndpoint
	}
	return nil
}

func (k *Kubelet) setGate(name string, on bool) {
	if k.Gates == nil {
		k.Gates = map[string]bool{}
	}
	k.Gates[name] = on
}

// flagGates takes in --feature-gates=A=true,B=false.
func (k *Kubelet) flagGates() {
	for pair := range strings.SplitSeq(flagValue(k.Flags, "feature-gates"), ",") {
		if name, value, found := strings.Cut(pair, "="); found {
			k.setGate(name, strings.EqualFold(value, "true"))
		}
	}
}
