// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"refit.dev/refit/host"
	"refit.dev/refit/host/service"
	"refit.dev/refit/internal/hint"
)

// APIServerManifest is where kubeadm puts the static pod of the API server, whose flags say
// where etcd is and by which certificates it is reached, be it on the same machine or not
// (k8s.io/kubernetes/cmd/kubeadm/app/phases/controlplane/manifests.go).
const APIServerManifest = "/etc/kubernetes/manifests/kube-apiserver.yaml"

// ErrNoControlPlane says of a machine that no API server runs there.
var ErrNoControlPlane = errors.New("no API server runs there, as a static pod or as a service of systemd")

// Locate reads on a machine of a control plane how its API server reaches etcd, be it a static
// pod or a service of systemd. The connections are made from there, and may take patience each.
// The error is ErrNoControlPlane if it is none.
func Locate(ctx context.Context, m host.Machine, patience time.Duration) (Access, error) {
	a, err := LocateBy(ctx, m, APIServerManifest, patience)
	if !errors.Is(err, ErrNoControlPlane) {
		return a, err
	}
	unit, lookErr := service.Look(ctx, m, "kube-apiserver")
	switch {
	case lookErr != nil && host.Temporary(lookErr):
		return Access{}, fmt.Errorf("find etcd: %w", lookErr)
	case lookErr != nil || !unit.Loaded: // or the machine has no systemd
		return Access{}, err
	}
	flags := service.Values(service.Flags(unit.Argv))
	if flags["etcd-servers"] == "" {
		return Access{}, hint.Wrap(fmt.Errorf("find etcd: %s has no --etcd-servers", unit.Name), "name etcd with --endpoints, --cacert, --cert and --key")
	}
	return ByFlags(ctx, m, flags, patience)
}

// LocateAll is Locate, and asks for the other members too.
func LocateAll(ctx context.Context, m host.Machine, patience time.Duration) (Access, error) {
	a, err := Locate(ctx, m, patience)
	if err != nil {
		return a, err
	}
	others, err := a.Others(ctx)
	a.Endpoints = append(a.Endpoints, others...)
	return a, err
}

// LocateBy is Locate by a manifest of the API server at another place.
func LocateBy(ctx context.Context, m host.Machine, manifest string, patience time.Duration) (Access, error) {
	text, err := m.ReadFile(ctx, manifest)
	if errors.Is(err, fs.ErrNotExist) {
		return Access{}, fmt.Errorf("%w: %s is not there", ErrNoControlPlane, manifest)
	}
	if err != nil {
		return Access{}, fmt.Errorf("find etcd: %w", err)
	}
	flags, err := APIServerFlags(text)
	if err != nil {
		return Access{}, fmt.Errorf("find etcd: %s: %w", manifest, err)
	}
	if flags["etcd-servers"] == "" {
		return Access{}, hint.Wrap(fmt.Errorf("find etcd: %s has no --etcd-servers", manifest), "name etcd with --endpoints, --cacert, --cert and --key")
	}
	return ByFlags(ctx, m, flags, patience)
}

// ByFlags is Locate by the flags of an API server, without their dashes; what they say of
// certificates is read on the machine.
func ByFlags(ctx context.Context, m host.Machine, flags map[string]string, patience time.Duration) (a Access, err error) {
	var c Credentials
	for name, into := range map[string]*[]byte{"etcd-cafile": &c.CA, "etcd-certfile": &c.Certificate, "etcd-keyfile": &c.Key} {
		if flags[name] == "" {
			continue
		}
		if *into, err = m.ReadFile(ctx, flags[name]); err != nil {
			return Access{}, fmt.Errorf("find etcd: the file of the API server's --%s: %w", name, err)
		}
	}
	a = Access{Endpoints: strings.Split(flags["etcd-servers"], ","), Dial: m.Dial, Patience: patience}
	if a.TLS, err = c.TLS(); err != nil {
		return Access{}, fmt.Errorf("find etcd: %w", err)
	}
	return a, nil
}

// APIServerFlags are the flags of a static pod's container, without their dashes.
func APIServerFlags(manifest []byte) (map[string]string, error) {
	var pod corev1.Pod
	if err := yaml.Unmarshal(manifest, &pod); err != nil {
		return nil, err
	}
	flags := map[string]string{}
	for _, c := range pod.Spec.Containers {
		maps.Copy(flags, service.Values(service.Flags(append(c.Command, c.Args...))))
	}
	return flags, nil
}
