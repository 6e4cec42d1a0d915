// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package vault

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"

	"refit.dev/refit/etcd"
	"refit.dev/refit/host"
	"refit.dev/refit/internal/hint"
)

// roots are where a control plane has what is in no snapshot: files, or directories with all that is
// in them. kubeadm's are those of
// https://kubernetes.io/docs/reference/setup-tools/kubeadm/implementation-details/, the
// units those of clusters that run etcd and API server as services.
func roots() []string {
	all := []string{
		"/etc/kubernetes", "/var/lib/kubelet/config.yaml", "/var/lib/kubelet/kubeadm-flags.env", "/var/lib/kubelet/instance-config.yaml",
		"/etc/default/kubelet", "/etc/sysconfig/kubelet", "/etc/systemd/system/kubelet.service.d", "/usr/lib/systemd/system/kubelet.service.d",
	}
	for _, unit := range []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet"} {
		all = append(all, "/etc/systemd/system/"+unit+".service")
	}
	return all
}

// left are directories below the roots with copies that kubeadm and refit make.
func left() []string { return []string{"/etc/kubernetes/tmp", "/etc/kubernetes/refit-restore"} }

// Collect reads the files of a control plane's machine that a restore onto an empty one needs:
// keys and certificates, configuration of the components, manifests of static pods, and whatever
// else the flags of the components name. Links are read as what they lead to.
func Collect(ctx context.Context, m host.Machine) ([]File, error) {
	argv := append([]string{"find", "-L"}, roots()...)
	for _, dir := range left() {
		argv = append(argv, "-path", dir, "-prune", "-o")
	}
	argv = append(argv, "-type", "f", "-printf", `%m %s %p\0`)
	result, err := m.Exec(ctx, argv, host.ExecOptions{})
	if err == nil && result.Cut > 0 {
		err = fmt.Errorf("there are too many: %d bytes of names are missing", result.Cut)
	}
	if err == nil {
		err = foundAll(result)
	}
	if err != nil {
		return nil, fmt.Errorf("list the files of the control plane: %w", err)
	}
	modes := map[string]fs.FileMode{}
	total := int64(0)
	for entry := range strings.SplitSeq(strings.TrimSuffix(string(result.Stdout), "\x00"), "\x00") {
		words := strings.SplitN(entry, " ", 3)
		if len(words) < 3 {
			continue // nothing was found
		}
		mode, modeErr := strconv.ParseUint(words[0], 8, 32)
		size, sizeErr := strconv.ParseInt(words[1], 10, 64)
		if err := errors.Join(modeErr, sizeErr); err != nil {
			return nil, fmt.Errorf("list the files of the control plane: %w", err)
		}
		modes[words[2]] = fs.FileMode(mode).Perm()
		if total += size; total > maxFiles {
			return nil, hint.Wrap(fmt.Errorf("the files of the control plane have more than %d MiB (%s is one of them)", maxFiles>>20, words[2]), "move what does not belong to it out of /etc/kubernetes")
		}
	}
	files, err := readAll(ctx, m, modes)
	if err != nil {
		return nil, err
	}
	for p := range named(files) {
		if _, there := modes[p]; there {
			continue
		}
		data, err := m.ReadFile(ctx, p)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read what flags of the control plane name: %w", err)
		}
		files = append(files, File{Path: p, Mode: 0o600, Data: data})
	}
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	return files, nil
}

// foundAll takes it that roots may be missing, which find ends with 1 for, and nothing else may be wrong.
func foundAll(result host.Result) error {
	if result.Code != 0 && result.Code != 1 {
		return host.Succeed(result, nil) // it may have been killed half-way
	}
	for line := range strings.Lines(string(result.Stderr)) {
		if !strings.Contains(line, "No such file or directory") {
			return errors.New(strings.TrimSpace(line))
		}
	}
	return nil
}

func readAll(ctx context.Context, m host.Machine, modes map[string]fs.FileMode) ([]File, error) {
	var files []File
	for p, mode := range modes {
		if checkPath(p) != nil {
			return nil, fmt.Errorf("read the files of the control plane: %w", checkPath(p))
		}
		data, err := m.ReadFile(ctx, p)
		if errors.Is(err, fs.ErrNotExist) {
			continue // since it was listed
		}
		if err != nil {
			return nil, fmt.Errorf("read the files of the control plane: %w", err)
		}
		files = append(files, File{Path: p, Mode: mode, Data: data})
	}
	return files, nil
}

// named are the files that flags of the control plane's static pods name, where they are on the machine, with the flag. Those
// of the API server go before others'.
func named(files []File) map[string]string {
	all := map[string]string{}
	for _, component := range []string{"etcd", "kube-controller-manager", "kube-scheduler", "kube-apiserver"} {
		i := slices.IndexFunc(files, func(f File) bool {
			return f.Path == path.Join(path.Dir(etcd.APIServerManifest), component+".yaml")
		})
		if i < 0 {
			continue
		}
		flags, err := etcd.APIServerFlags(files[i].Data)
		if err != nil {
			continue
		}
		for flag, value := range flags {
			if p := onMachine(files[i].Data, value); etcd.NamesFile(flag) && checkPath(p) == nil {
				all[p] = flag
			}
		}
	}
	return all
}

// Strangers are the paths of files that Collect would not have gathered: they are no control plane's, and whoever
// has made the set wants something else. They are sorted.
func Strangers(files []File) (paths []string) {
	flagged := named(files)
	for _, f := range files {
		_, wanted := flagged[f.Path]
		wanted = wanted || strings.HasPrefix(f.Path, "/refit/")
		for _, root := range roots() {
			wanted = wanted || f.Path == root || strings.HasPrefix(f.Path, root+"/")
		}
		if !wanted {
			paths = append(paths, f.Path)
		}
	}
	slices.Sort(paths)
	return paths
}

// onMachine is where a file of a static pod's container is on its machine.
func onMachine(manifest []byte, inside string) string {
	var pod corev1.Pod
	if yaml.Unmarshal(manifest, &pod) != nil || len(pod.Spec.Containers) == 0 {
		return inside
	}
	longest, outside := "", inside
	for _, mount := range pod.Spec.Containers[0].VolumeMounts {
		at := strings.TrimSuffix(mount.MountPath, "/")
		rest, below := strings.CutPrefix(inside, at)
		if !below || rest != "" && rest[0] != '/' || len(at) <= len(longest) {
			continue
		}
		for _, v := range pod.Spec.Volumes {
			if v.Name == mount.Name && v.HostPath != nil {
				longest, outside = at, path.Join(v.HostPath.Path, rest)
			}
		}
	}
	return outside
}

// encryptionConfig is the EncryptionConfiguration among files, nil if there is none.
func encryptionConfig(files []File) []byte {
	for p, flag := range named(files) {
		i := slices.IndexFunc(files, func(f File) bool { return f.Path == p })
		if flag == "encryption-provider-config" && i >= 0 {
			return files[i].Data
		}
	}
	return nil
}

// inCluster are objects that kubeadm init and join read, as files: they are in the snapshot, but an
// empty machine has no API server yet that could be asked.
func inCluster() map[string]struct{ file, field string } {
	const prefix = "/registry/configmaps/kube-system/"
	return map[string]struct{ file, field string }{
		prefix + "kubeadm-config": {"/refit/kubeadm-config.yaml", "ClusterConfiguration"},
		prefix + "kubelet-config": {"/refit/kubelet-config.yaml", "kubelet"},
	}
}

// fromCluster makes files of the values of inCluster, and tells the version of Kubernetes; what is encrypted, or was not made by
// kubeadm, is left out.
func fromCluster(values map[string][]byte) (files []File, kubernetes string) {
	for key, to := range inCluster() {
		o, _, err := scheme.Codecs.UniversalDeserializer().Decode(values[key], nil, nil)
		if err != nil {
			continue
		}
		m, ok := o.(*corev1.ConfigMap)
		if !ok || m.Data[to.field] == "" {
			continue
		}
		files = append(files, File{Path: to.file, Mode: 0o600, Data: []byte(m.Data[to.field])})
		var c struct {
			KubernetesVersion string `json:"kubernetesVersion"`
		}
		if yaml.Unmarshal([]byte(m.Data[to.field]), &c) == nil && c.KubernetesVersion != "" {
			kubernetes = c.KubernetesVersion
		}
	}
	return files, kubernetes
}
