// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package restore

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"refit.dev/refit/internal/hint"
	"refit.dev/refit/run"
)

// parseStaticPod reads what has to be known of a member out of the manifest of its static
// pod: its name, its URLs, and where on the machine its files are.
func parseStaticPod(text []byte) (run.Member, error) {
	var pod corev1.Pod
	if err := yaml.Unmarshal(text, &pod); err != nil {
		return run.Member{}, fmt.Errorf("read %s: %w", etcdManifest, err)
	}
	if len(pod.Spec.Containers) != 1 {
		return run.Member{}, fmt.Errorf("%s is no manifest of a pod with one container", etcdManifest)
	}
	c := pod.Spec.Containers[0]
	env := map[string]string{}
	for _, e := range c.Env {
		env[e.Name] = e.Value
	}
	m, err := parseFlags(slices.Concat(c.Command, c.Args), env)
	if err != nil {
		return run.Member{}, fmt.Errorf("%s: %w", etcdManifest, err)
	}
	m.File, m.Method = etcdManifest, run.StaticPods
	for _, p := range []*string{&m.DataDir, &m.CA} {
		if *p, err = onMachine(&pod, *p); err != nil {
			return run.Member{}, fmt.Errorf("%s: %w", etcdManifest, err)
		}
	}
	if m.DataDir == "/" {
		return run.Member{}, fmt.Errorf("%s: the data directory is the machine's root", etcdManifest)
	}
	return m, nil
}

// onMachine says where on the machine a file is that a pod sees at p.
func onMachine(pod *corev1.Pod, p string) (string, error) {
	if p == "" {
		return "", nil
	}
	at, found := "", ""
	for _, mount := range pod.Spec.Containers[0].VolumeMounts {
		if p != mount.MountPath && !strings.HasPrefix(p, strings.TrimSuffix(mount.MountPath, "/")+"/") || len(mount.MountPath) < len(at) {
			continue
		}
		for _, v := range pod.Spec.Volumes {
			if v.Name == mount.Name && v.HostPath != nil {
				at, found = mount.MountPath, path.Join(v.HostPath.Path, mount.SubPath, strings.TrimPrefix(p, mount.MountPath))
			}
		}
	}
	if found == "" {
		return "", fmt.Errorf("%s is on no volume of the machine", p)
	}
	return found, nil
}

// parseFlags reads the flags of an etcd, and the variables that stand for them: a flag
// goes before (https://etcd.io/docs/v3.6/op-guide/configuration/).
func parseFlags(argv []string, env map[string]string) (run.Member, error) {
	flags := flagsOf(argv)
	get := func(name string) string {
		if value, given := flags[name]; given {
			return value
		}
		return env["ETCD_"+strings.ToUpper(strings.ReplaceAll(name, "-", "_"))]
	}
	if get("wal-dir") != "" {
		return run.Member{}, hint.Wrap(errors.New("etcd has its write-ahead log in a directory of its own (--wal-dir)"),
			"restore such a member by hand, with etcdutl snapshot restore")
	}
	if get("config-file") != "" {
		return run.Member{}, hint.Wrap(errors.New("etcd reads its configuration from a file (--config-file)"), "restore such a member by hand, with etcdutl snapshot restore")
	}
	m := run.Member{Name: get("name"), DataDir: path.Clean(get("data-dir")), CA: get("trusted-ca-file")}
	if m.Name == "" {
		m.Name = "default"
	}
	m.PeerURLs = split(get("initial-advertise-peer-urls"))
	m.ClientURLs = split(get("listen-client-urls"))
	switch {
	case !path.IsAbs(m.DataDir) || m.DataDir == "/":
		return m, fmt.Errorf("etcd's --data-dir is %q: want an absolute path", get("data-dir"))
	case len(m.PeerURLs) == 0:
		return m, errors.New("etcd has no --initial-advertise-peer-urls")
	case len(m.ClientURLs) == 0:
		return m, errors.New("etcd has no --listen-client-urls")
	}
	for _, text := range slices.Concat(m.PeerURLs, m.ClientURLs) {
		if u, err := url.Parse(text); err != nil || u.Host == "" {
			return m, fmt.Errorf("%q is no URL of etcd", text)
		}
	}
	return m, nil
}

// flagsOf reads flags, with one dash or two, and their values behind "=" or as the next word.
func flagsOf(argv []string) map[string]string {
	flags := map[string]string{}
	for i, word := range argv {
		name, value, given := strings.Cut(strings.TrimLeft(word, "-"), "=")
		if !strings.HasPrefix(word, "-") {
			continue
		}
		if !given && i+1 < len(argv) && !strings.HasPrefix(argv[i+1], "-") {
			value = argv[i+1]
		}
		flags[name] = value
	}
	return flags
}

func split(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' })
}
