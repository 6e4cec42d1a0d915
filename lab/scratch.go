// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// Flavour is how a lab's cluster is put together.
type Flavour string

const (
	// Kubeadm is what kubeadm makes: packages, and a control plane in static pods.
	Kubeadm Flavour = ""
	// Scratch is put together by hand: all components, etcd too, are services of systemd whose
	// binaries are under /usr/local/bin.
	Scratch Flavour = "scratch"
)

// Flavours are the names of the flavours.
func Flavours() []string { return []string{"kubeadm", string(Scratch)} }

// Addresses of Services in a cluster from scratch, as kubeadm has them by default.
const serviceAddress = "10.96.0.1"

// plan of a machine from scratch: what its files are filled with.
type scratching struct {
	Machine
	host
	Plane              bool
	Cluster, PodSubnet string
}

// scratch puts binaries, certificates and services on those machines that are not part of the
// cluster, and starts them.
func (l *Lab) scratch(ctx context.Context, made made, progress Progress) error {
	ca, err := l.openAuthority()
	if err != nil {
		return fmt.Errorf("make the certificates: %w", err)
	}
	admin, err := ca.kubeconfig("https://"+l.endpoint(), subject{name: "admin", group: "system:masters"})
	if err != nil {
		return err
	}
	if err := writeFile(l.Kubeconfig(), []byte(admin), 0o600); err != nil {
		return err
	}
	progress.say("making the cluster from binaries, Kubernetes %s", l.record.Options.Version)
	first := l.Machines()[0]
	if err := l.scratchMachine(ctx, first, made, ca, admin); err != nil {
		return err
	}
	if err := l.apiReady(ctx); err != nil {
		return err
	}
	g, gctx := errgroup.WithContext(ctx)
	for _, m := range l.founders()[1:] {
		g.Go(func() error { return l.scratchMachine(gctx, m, made, ca, "") })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return l.scratchObjects(ctx, made)
}

// scratchMachine makes one machine a part of the cluster; admin is for a control plane.
func (l *Lab) scratchMachine(ctx context.Context, m Machine, made made, ca *authority, admin string) error {
	if _, err := l.exec(ctx, m.Name, "test -e "+joined); err == nil {
		return nil
	}
	if err := l.putPrograms(ctx, m, made); err != nil {
		return fmt.Errorf("machine %s: put the binaries there: %w", m.Name, err)
	}
	secret, err := l.scratchSecrets(m, ca, admin)
	if err != nil {
		return err
	}
	if err := l.put(ctx, m.Name, secret, 0o600); err != nil {
		return err
	}
	plan := scratching{Machine: m, host: made.host, Plane: m.Role == ControlPlane, Cluster: l.network(), PodSubnet: podSubnet}
	files := map[string]string{}
	for target, template := range map[string]string{"./var/lib/kubelet/config.yaml": "kubelet.yaml", "./var/lib/kube-proxy/config.yaml": "kube-proxy.yaml"} {
		if files[target], err = fill("scratch/"+template, plan); err != nil {
			return err
		}
	}
	services := componentsOf(m.Role)
	for i, name := range services {
		services[i] = name + ".service"
		if files["./etc/systemd/system/"+services[i]], err = fill("scratch/"+services[i], plan); err != nil {
			return err
		}
	}
	if err := l.put(ctx, m.Name, files, 0o644); err != nil {
		return err
	}
	script := fmt.Sprintf("set -eu\nsystemctl daemon-reload\nsystemctl --quiet enable %[1]s\nsystemctl start %[1]s\ntouch %[2]s\n", strings.Join(services, " "), joined)
	return within(ctx, kubeadmLimit, "start the services", func(ctx context.Context) error {
		_, err := l.exec(ctx, m.Name, script)
		return err
	})
}

// componentsOf are the components of a machine, in the order in which they are started.
func componentsOf(r Role) []string {
	node := []string{"kubelet", "kube-proxy"}
	if r == ControlPlane {
		return append([]string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"}, node...)
	}
	return node
}

// putPrograms puts the binaries of the lab's version into a machine.
func (l *Lab) putPrograms(ctx context.Context, m Machine, made made) error {
	r := l.release()
	files := map[string]string{}
	names := componentsOf(m.Role)
	if m.Role == ControlPlane {
		names = append(names, "kubectl")
	}
	for _, name := range names {
		files["./usr/local/bin/"+name] = programOf(made, r, name)
	}
	reader, w := io.Pipe()
	go func() { w.CloseWithError(writeTar(w, files, nil, 0)) }()
	defer reader.Close()
	_, err := l.engine.docker(ctx, reader, "cp", "-", l.container(m.Name)+":/")
	return err
}

// programOf is where the cache has a component of a release.
func programOf(made made, r release, name string) string {
	if name == "etcd" {
		return filepath.Join(made.programs[r.Etcd], "server")
	}
	return filepath.Join(made.programs[r.Module], name)
}

// release is the one of the lab's version.
func (l *Lab) release() release {
	for _, r := range releases() {
		if r.Version == l.record.Options.Version {
			return r
		}
	}
	return releases()[0] // Options were checked
}

// scratchSecrets are the certificates, keys and kubeconfigs of a machine.
func (l *Lab) scratchSecrets(m Machine, ca *authority, admin string) (map[string]string, error) {
	files := map[string]string{"./etc/kubernetes/pki/ca.crt": ca.text()}
	server := "https://" + l.endpoint()
	users := map[string]subject{"kubelet": {name: "system:node:" + m.Name, group: "system:nodes"}, "kube-proxy": {name: "system:kube-proxy"}}
	if m.Role == ControlPlane {
		users["kube-controller-manager"] = subject{name: "system:kube-controller-manager"}
		users["kube-scheduler"] = subject{name: "system:kube-scheduler"}
	}
	for name, user := range users {
		text, err := ca.kubeconfig(server, user)
		if err != nil {
			return nil, err
		}
		files["./etc/kubernetes/"+name+".conf"] = text
	}
	if m.Role != ControlPlane {
		return files, nil
	}
	files["./etc/kubernetes/admin.conf"] = admin
	own := []netip.Addr{netip.MustParseAddr("127.0.0.1"), m.Address}
	for name, s := range map[string]subject{
		"etcd": {name: m.Name, names: []string{m.Name, "localhost"}, addresses: own},
		"apiserver": {name: "kube-apiserver", addresses: append(own, netip.MustParseAddr(serviceAddress)),
			names: []string{m.Name, "localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"}},
		"apiserver-etcd-client":    {name: "kube-apiserver-etcd-client"},
		"apiserver-kubelet-client": {name: "kube-apiserver-kubelet-client", group: "system:masters"},
	} {
		certificate, key, err := ca.issue(s)
		if err != nil {
			return nil, err
		}
		files["./etc/kubernetes/pki/"+name+".crt"], files["./etc/kubernetes/pki/"+name+".key"] = certificate, key
	}
	accounts, err := ecdsaKey(l.path("pki", "sa.key"))
	if err != nil {
		return nil, err
	}
	for path, text := range map[string]func() (string, error){
		"ca.key": func() (string, error) { return keyText(ca.key) },
		"sa.key": func() (string, error) { return keyText(accounts) },
		"sa.pub": func() (string, error) { return publicText(accounts.Public()) },
	} {
		if files["./etc/kubernetes/pki/"+path], err = text(); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// scratchObjects makes what kubeadm would make in the cluster: the label of the control plane,
// and the cluster's DNS.
func (l *Lab) scratchObjects(ctx context.Context, made made) error {
	image, err := storeImage(made.content, "coredns/coredns:")
	if err != nil {
		return err
	}
	manifest, err := fill("scratch/coredns.yaml", struct{ Image string }{image})
	if err != nil {
		return err
	}
	first := l.Machines()[0].Name
	return within(ctx, bootLimit, "wait until "+first+" is a node", func(ctx context.Context) error {
		err := poll(ctx, time.Second, func() (bool, error) {
			_, err := l.kubectl(ctx, nil, "label", "--overwrite", "node", first, "node-role.kubernetes.io/control-plane=")
			return err == nil, nil
		})
		if err != nil {
			return err
		}
		_, err = l.kubectl(ctx, strings.NewReader(manifest), "apply", "--filename", "-")
		return err
	})
}
