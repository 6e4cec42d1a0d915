// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package kubeadm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"sigs.k8s.io/yaml"

	"refit.dev/refit/host"
	"refit.dev/refit/internal/hint"
)

const (
	apiServerManifest = manifestDir + "/kube-apiserver.yaml"
	// apiServerBefore is where the manifest is kept that was replaced. The kubelet does
	// not read it there.
	apiServerBefore = tmpDir + "/kube-apiserver.yaml.before-refit"
)

// APIServer is the API server of a host: what it is to be, and what runs.
type APIServer struct {
	// Manifest is the text of its manifest.
	Manifest string
	// Address and Port are where the manifest has it listen for others.
	Address string
	Port    int
	// CRI is the kubelet's runtime endpoint.
	CRI string
	// Processes are the command lines of the API servers that run on the host, of the
	// one with this Address alone.
	Processes [][]string
}

// ObserveAPIServer looks at the API server of a host. It changes nothing.
func ObserveAPIServer(ctx context.Context, m host.Machine) (APIServer, error) {
	r := &reader{m: m}
	manifest, found, err := r.file(ctx, apiServerManifest)
	if err != nil {
		return APIServer{}, err
	}
	if !found {
		return APIServer{}, hint.Wrap(fmt.Errorf("%s: %w", apiServerManifest, fs.ErrNotExist), "look at the machine: kubeadm puts an old manifest aside in %s while it replaces it", tmpDir)
	}
	a := APIServer{Manifest: manifest, Port: 6443}
	pod, err := parseManifest(apiServerManifest, manifest)
	if err != nil {
		return APIServer{}, fmt.Errorf("%s: %w", apiServerManifest, err)
	}
	a.Address = flagValue(pod.Flags, "advertise-address")
	if port := flagValue(pod.Flags, "secure-port"); port != "" {
		if a.Port, err = strconv.Atoi(port); err != nil {
			return APIServer{}, fmt.Errorf("%s: --secure-port=%s is no number", apiServerManifest, port)
		}
	}
	kubelet, err := r.kubelet(ctx)
	if err != nil {
		return APIServer{}, err
	}
	a.CRI = kubelet.CRI
	a.Processes, err = r.apiServers(ctx, a.Address)
	return a, err
}

// listProcesses prints the arguments of each process of the name $1, one a line, and a
// blank line after each process.
const listProcesses = `for dir in /proc/[0-9]*; do
[ "$(cat "$dir/comm" 2>/dev/null)" = "$1" ] && tr '\0' '\n' <"$dir/cmdline" 2>/dev/null && echo
done
true`

// apiServers are the command lines of the API servers of an address.
func (r *reader) apiServers(ctx context.Context, address string) ([][]string, error) {
	text, err := r.text(ctx, "sh", "-c", listProcesses, "sh", "kube-apiserver")
	if err != nil {
		return nil, err
	}
	var all [][]string
	for process := range strings.SplitSeq(text, "\n\n") {
		if words := lines(process); len(words) > 0 && flagValue(words, "advertise-address") == address {
			all = append(all, words)
		}
	}
	return all, nil
}

// Runs says what is missing until the API server runs with these flags, and no other
// one does; "" if nothing is.
func (a APIServer) Runs(args []Arg) string {
	if len(a.Processes) == 0 {
		return "no kube-apiserver runs"
	}
	for _, words := range a.Processes {
		for _, arg := range args {
			if flagValue(words, arg.Name) != arg.Value {
				return "a kube-apiserver runs without " + arg.String()
			}
		}
	}
	return ""
}

// renderAPIServer has kubeadm write a manifest for the configuration that comes in, into
// a directory of its own that goes again, and prints it. kubeadm's dry run writes there
// (GetDryRunDir in cmd/kubeadm/app/constants).
const renderAPIServer = `set -eu
umask 077
dir=$(mktemp -d /run/refit-kubeadm-XXXXXXXXXX)
trap 'rm -rf -- "$dir"' EXIT
cat >"$dir/config.yaml"
KUBEADM_INIT_DRYRUN_DIR="$dir" kubeadm init phase control-plane apiserver --dry-run --config "$dir/config.yaml" >&2
cat "$dir/kube-apiserver.yaml"`

// Render returns the manifest that the host's kubeadm makes of a ClusterConfiguration, as
// its documentation has it ("Reconfiguring a kubeadm cluster": kubeadm init phase
// control-plane apiserver --config). patches is the directory on the host with patches of
// manifests; "" if there is none. The host stays as it is.
func (a APIServer) Render(ctx context.Context, m host.Machine, config, node, patches string) (string, error) {
	var c struct {
		APIVersion string `json:"apiVersion"`
	}
	if err := yaml.Unmarshal([]byte(config), &c); err != nil {
		return "", fmt.Errorf("the ClusterConfiguration is damaged: %w", err)
	}
	local := map[string]any{
		"apiVersion": c.APIVersion, "kind": "InitConfiguration",
		"localAPIEndpoint": map[string]any{"advertiseAddress": a.Address, "bindPort": a.Port},
		"nodeRegistration": map[string]any{"name": node, "criSocket": a.CRI},
	}
	if patches != "" {
		local["patches"] = map[string]any{"directory": patches}
	}
	text, err := yaml.Marshal(local)
	if err != nil {
		return "", fmt.Errorf("write an InitConfiguration: %w", err)
	}
	result, err := m.Exec(ctx, []string{"sh", "-c", renderAPIServer}, host.ExecOptions{Stdin: strings.NewReader(config + "\n---\n" + string(text))})
	if err = host.Succeed(result, err); err != nil {
		return "", fmt.Errorf("have kubeadm make the manifest of kube-apiserver: %w", err)
	}
	return string(result.Stdout), nil
}

// SameBut tells whether two manifests are the same but for these flags.
func SameBut(a, b string, args []Arg) (bool, error) {
	var pods [2]map[string]any
	for i, manifest := range []string{a, b} {
		if err := yaml.Unmarshal([]byte(manifest), &pods[i]); err != nil {
			return false, fmt.Errorf("the manifest is damaged: %w", err)
		}
		if err := withoutFlags(pods[i], args); err != nil {
			return false, err
		}
	}
	return reflect.DeepEqual(pods[0], pods[1]), nil
}

// withoutFlags takes flags out of the command of a pod, whose order does not count, and
// what older versions of kubeadm wrote without meaning anything.
func withoutFlags(pod map[string]any, args []Arg) error {
	spec, _ := pod["spec"].(map[string]any)
	containers, _ := spec["containers"].([]any)
	if len(containers) == 0 {
		return errors.New("the manifest is damaged: it has no container")
	}
	container, _ := containers[0].(map[string]any)
	command, _ := container["command"].([]any)
	var words []string
	for _, word := range command {
		word := fmt.Sprint(word)
		if !slices.ContainsFunc(args, func(a Arg) bool { return strings.HasPrefix(word, "--"+a.Name+"=") }) {
			words = append(words, word)
		}
	}
	slices.Sort(words)
	if container != nil {
		container["command"] = words
	}
	if metadata, ok := pod["metadata"].(map[string]any); ok && metadata["creationTimestamp"] == nil {
		delete(metadata, "creationTimestamp")
	}
	if status, ok := pod["status"].(map[string]any); ok && len(status) == 0 {
		delete(pod, "status")
	}
	return nil
}

// Replace puts another manifest in the place of the one that was looked at, which is kept
// at the path that it returns. The kubelet then starts the API server again.
func (a APIServer) Replace(ctx context.Context, m host.Machine, manifest string) (kept string, err error) {
	const mode = 0o600 // as kubeadm's WriteStaticPodToDisk has it
	if err := host.Succeed(m.Exec(ctx, []string{"mkdir", "-p", "-m", "0700", "--", tmpDir}, host.ExecOptions{})); err != nil {
		return "", fmt.Errorf("make %s: %w", tmpDir, err)
	}
	if err := m.WriteFile(ctx, apiServerBefore, []byte(a.Manifest), mode); err != nil {
		return "", fmt.Errorf("keep the manifest of before: %w", err)
	}
	return apiServerBefore, m.WriteFile(ctx, apiServerManifest, []byte(manifest), mode)
}

// Has tells whether the manifest names these flags.
func (a APIServer) Has(args []Arg) bool {
	pod, err := parseManifest(apiServerManifest, a.Manifest)
	return err == nil && !slices.ContainsFunc(args, func(arg Arg) bool { return flagValue(pod.Flags, arg.Name) != arg.Value })
}
