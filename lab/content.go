// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// content returns what the store serves: apt/vMINOR/ for each minor version, and
// images. programs are the directories of the modules' programs by name.
func (c *cache) content(ctx context.Context, programs map[string]string, base string) (string, error) {
	parts := []string{text("kubelet.service"), text("10-kubeadm.conf"), revision, filepath.Base(base), "4"}
	for _, name := range sortedKeys(programs) {
		parts = append(parts, filepath.Base(programs[name]))
	}
	k, err := key(parts...)
	if err != nil {
		return "", err
	}
	return c.get("store", k, func(dir string) error {
		c.progress.say("making packages and images")
		s, err := newImages(dir)
		if err != nil {
			return err
		}
		for _, r := range releases() {
			if err := writePackages(dir, r, programs[r.Module], programs[criTools]); err != nil {
				return err
			}
			if err := s.addRelease(ctx, r, programs, base); err != nil {
				return err
			}
		}
		answer := image{name: "lab/answer", tag: "1", start: []string{"/usr/local/bin/inside", "answer"},
			files: map[string]string{"usr/local/bin/inside": filepath.Join(programs["inside"], "inside")}}
		if err := s.add(answer); err != nil {
			return err
		}
		return s.close()
	})
}

// pauseImage returns the newest image of pods' own process in the store.
func pauseImage(content string) (string, error) { return storeImage(content, "pause:") }

// storeImage returns the newest image in the store whose name begins so.
func storeImage(content, begin string) (string, error) {
	data, err := os.ReadFile(filepath.Join(content, "images.json"))
	if err != nil {
		return "", err
	}
	tags := map[string]string{}
	if err := json.Unmarshal(data, &tags); err != nil {
		return "", fmt.Errorf("images.json: %w", err)
	}
	out := ""
	for _, ref := range sortedKeys(tags) {
		if strings.HasPrefix(ref, begin) {
			out = "registry.k8s.io/" + ref
		}
	}
	if out == "" {
		return "", fmt.Errorf("the store has no image %s", begin)
	}
	return out, nil
}

// addRelease adds what kubeadm of a version asks for.
func (s *images) addRelease(ctx context.Context, r release, programs map[string]string, base string) error {
	kubeadm := filepath.Join(programs[r.Module], "kubeadm")
	list, err := command{Argv: []string{kubeadm, "config", "images", "list", "--kubernetes-version", "v" + r.Version}}.run(ctx)
	if err != nil {
		return fmt.Errorf("ask kubeadm %s for its images: %w", r.Version, err)
	}
	for ref := range strings.FieldsSeq(list) {
		_, path, _ := strings.Cut(ref, "/") // without the registry
		name, tag, _ := strings.Cut(path, ":")
		img := image{name: name, tag: tag}
		program := filepath.Join(programs[r.Module], name)
		switch name {
		case "etcd":
			etcd := programs[r.Etcd]
			img.files = map[string]string{"usr/local/bin/etcd": filepath.Join(etcd, "server"),
				"usr/local/bin/etcdctl": filepath.Join(etcd, "etcdctl"), "usr/local/bin/etcdutl": filepath.Join(etcd, "etcdutl")}
		case "coredns/coredns":
			img.files, img.start = map[string]string{"coredns": filepath.Join(programs["coredns"], "coredns")}, []string{"/coredns"}
		case "pause":
			img.files, img.start = map[string]string{"pause": filepath.Join(programs["inside"], "inside")}, []string{"/pause", "pause"}
		case "kube-proxy":
			img.onto = filepath.Join(base, "iptables.tar")
			fallthrough
		default:
			img.files = map[string]string{"usr/local/bin/" + name: program}
		}
		if err := s.add(img); err != nil {
			return err
		}
	}
	return nil
}

// writePackages writes the packages of a version, named and laid out as those of
// Kubernetes are, but for the network plugins: a machine has those from Debian.
func writePackages(dir string, r release, programs, criPrograms string) error {
	dir = filepath.Join(dir, "apt", "v"+r.Minor(), runtime.GOARCH)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	of := func(d deb) deb { // of the release
		d.version, d.files = r.Version, map[string]string{"./usr/bin/" + d.name: filepath.Join(programs, d.name)}
		return d
	}
	for _, d := range []deb{
		of(deb{name: "kubectl", about: "Command-line utility for interacting with a Kubernetes cluster"}),
		of(deb{
			name: "kubelet", about: "Node agent for Kubernetes clusters",
			depends: "iptables (>= 1.4.21), containernetworking-plugins, mount, util-linux",
			texts:   map[string]string{"./usr/lib/systemd/system/kubelet.service": text("kubelet.service")},
			scripts: map[string]string{"postinst": "#!/bin/sh\nset -e\nsystemctl daemon-reload\nif [ \"$1\" = configure ] && [ -z \"$2\" ]; then systemctl enable kubelet.service; fi\n"},
		}),
		of(deb{
			name: "kubeadm", about: "Command-line utility for administering a Kubernetes cluster",
			depends: "kubelet (>= 1.19.0), cri-tools (>= 1.30.0)",
			texts:   map[string]string{"./usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf": text("10-kubeadm.conf")},
			scripts: map[string]string{"postinst": "#!/bin/sh\nset -e\nsystemctl daemon-reload\n"},
		}),
		{
			name: criTools, about: "Command-line utility for the Kubernetes CRI", version: criToolsVersion,
			files: map[string]string{"./usr/bin/crictl": filepath.Join(criPrograms, "crictl")},
		},
	} {
		d.version += "-" + revision
		if err := d.write(dir); err != nil {
			return err
		}
	}
	return nil
}
