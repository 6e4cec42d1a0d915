// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"strings"

	"golang.org/x/sync/errgroup"
)

// joined is the file that a machine has once it is part of the cluster.
const joined = "/etc/lab/joined"

// clean removes what a command that was killed left half-made. A worker is
// simply made anew. A control plane may be an etcd member already, or half of
// one: with any of them missing everything begins anew.
func (l *Lab) clean(ctx context.Context, progress Progress) error {
	half := map[string]bool{}
	var whole bool
	anew := false
	for _, m := range l.Nodes() {
		state, err := l.state(ctx, m.Name)
		if err != nil {
			return err
		}
		if state == "" {
			half[m.Name] = false
			anew = anew || m.Role == ControlPlane
			continue
		}
		if state != "running" && state != "created" {
			if err := l.Start(ctx, m.Name); err != nil {
				return err
			}
		}
		if _, err := l.exec(ctx, m.Name, "test -e "+joined); state == "created" || err != nil {
			half[m.Name] = true
			anew = anew || m.Role == ControlPlane
		} else {
			whole = true
		}
	}
	if anew && whole {
		progress.say("the control plane is not whole: beginning anew")
	}
	for _, m := range l.Nodes() {
		isHalf, incomplete := half[m.Name]
		if isHalf || anew && !incomplete {
			if err := l.remove(ctx, m.Name); err != nil {
				return err
			}
		}
		// A node of the name that is no more would be taken for this one.
		if incomplete && !anew {
			if _, err := l.exec(ctx, "cp1", kubectl+"delete node --ignore-not-found "+m.Name); err != nil {
				return err
			}
		}
	}
	return nil
}

// kubectl is how a control plane asks its own API server.
const kubectl = "KUBECONFIG=/etc/kubernetes/admin.conf kubectl "

// bring makes a machine run, with the packages that its role wants.
func (l *Lab) bring(ctx context.Context, m Machine, made made, keys keys) error {
	state, err := l.state(ctx, m.Name)
	if err != nil {
		return err
	}
	if state == "created" { // its files may not be in it
		if err := l.remove(ctx, m.Name); err != nil {
			return err
		}
		state = ""
	}
	if state == "" {
		files, err := l.filesOf(made.host, keys.login, made.pause)
		if err != nil {
			return err
		}
		if err := l.create(ctx, m, made.image, made.host, files); err != nil {
			return fmt.Errorf("make machine %s: %w", m.Name, err)
		}
		secret := map[string]string{"./etc/ssh/ssh_host_ed25519_key": keys.host[m.Name]}
		if err := l.put(ctx, m.Name, secret, 0o600); err != nil {
			return fmt.Errorf("make machine %s: %w", m.Name, err)
		}
	}
	if err := l.Start(ctx, m.Name); err != nil {
		return err
	}
	if m.Role == Balancer {
		return l.balance(ctx, m)
	}
	return l.install(ctx, m)
}

// install installs the packages of Kubernetes, held, as kubeadm's documentation
// has it; a machine that has joined has them.
func (l *Lab) install(ctx context.Context, m Machine) error {
	version := l.record.Options.Version
	minor := version[:strings.LastIndex(version, ".")]
	script := fmt.Sprintf(`set -eu
[ ! -e %[1]s ] || exit 0
export DEBIAN_FRONTEND=noninteractive
echo 'deb [trusted=yes] %[2]s/core:/stable:/v%[3]s/deb/ /' >/etc/apt/sources.list.d/kubernetes.list
apt-get -q update
dpkg --configure -a
apt-get -q -y install kubeadm='%[4]s-*' kubelet='%[4]s-*' kubectl='%[4]s-*'
apt-mark hold kubeadm kubelet kubectl
`, joined, l.StoreURL(), minor, version)
	return within(ctx, installLimit, "install Kubernetes", func(ctx context.Context) error {
		_, err := l.exec(ctx, m.Name, script)
		return err
	})
}

// balance starts the load balancer.
func (l *Lab) balance(ctx context.Context, m Machine) error {
	var servers []Machine
	for _, s := range l.Nodes() {
		if s.Role == ControlPlane {
			servers = append(servers, s)
		}
	}
	config, err := fill("haproxy.cfg", struct{ Servers []Machine }{servers})
	if err != nil {
		return err
	}
	if err := l.put(ctx, m.Name, map[string]string{"./etc/haproxy/haproxy.cfg": config}, 0o644); err != nil {
		return err
	}
	_, err = l.exec(ctx, m.Name, "systemctl --quiet enable --now haproxy.service")
	return err
}

// joining is what kubeadm.yaml is filled with.
type joining struct {
	Machine
	host
	Join, ControlPlane, Balanced  bool
	Cluster, Version, Endpoint    string
	PodSubnet                     string
	Token, CertificateKey, CAHash string
}

// cluster makes the machines a cluster: the first control plane, the others one
// at a time because etcd takes one member at a time, then all workers.
func (l *Lab) cluster(ctx context.Context, h host, progress Progress) error {
	certificateKey := make([]byte, 32)
	token := make([]byte, 11)
	for _, b := range [][]byte{certificateKey, token} {
		if _, err := rand.Read(b); err != nil {
			return err
		}
	}
	hexToken := hex.EncodeToString(token)
	j := joining{host: h, Balanced: l.balanced(), Cluster: l.network(), Version: l.record.Options.Version, Endpoint: l.endpoint(),
		PodSubnet: podSubnet, Token: hexToken[:6] + "." + hexToken[6:], CertificateKey: hex.EncodeToString(certificateKey)}
	first := l.Machines()[0]
	progress.say("making the cluster, Kubernetes %s", j.Version)
	if err := l.kubeadm(ctx, first, j, "init --upload-certs"); err != nil {
		return err
	}
	config, err := l.exec(ctx, first.Name, "cat /etc/kubernetes/admin.conf")
	if err != nil {
		return err
	}
	if err := writeFile(l.Kubeconfig(), []byte(config), 0o600); err != nil {
		return err
	}
	// The one of `kubeadm init` may be another's, of an Up that was killed.
	if _, err := l.exec(ctx, first.Name, "export KUBECONFIG=/etc/kubernetes/admin.conf; kubeadm token list | grep -q ^"+j.Token+
		" || kubeadm token create --ttl 1h "+j.Token); err != nil {
		return err
	}
	j.Join = true
	if j.CAHash, err = l.caHash(ctx, first); err != nil {
		return err
	}
	for _, m := range l.Nodes()[1:l.record.Options.ControlPlanes] {
		j.ControlPlane = true
		if err := l.kubeadm(ctx, m, j, "join"); err != nil {
			return err
		}
	}
	j.ControlPlane = false
	g, gctx := errgroup.WithContext(ctx)
	for _, m := range l.Nodes()[l.record.Options.ControlPlanes:] {
		g.Go(func() error { return l.kubeadm(gctx, m, j, "join") })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return l.connect(ctx)
}

// kubeadm runs `kubeadm init` or `kubeadm join` on a machine that is not part of
// the cluster.
func (l *Lab) kubeadm(ctx context.Context, m Machine, j joining, verb string) error {
	j.Machine = m
	config, err := fill("kubeadm.yaml", j)
	if err != nil {
		return err
	}
	if err := l.put(ctx, m.Name, map[string]string{"./etc/lab/kubeadm.yaml.new": config}, 0o600); err != nil {
		return err
	}
	script := fmt.Sprintf(`set -eu
cd /etc/lab
if [ -e %[1]s ]; then rm -f kubeadm.yaml.new; exit 0; fi
mv kubeadm.yaml.new kubeadm.yaml
kubeadm %[2]s --config kubeadm.yaml >kubeadm.log 2>&1 || { tail -n 30 kubeadm.log >&2; exit 1; }
touch %[1]s
`, joined, verb)
	return within(ctx, kubeadmLimit, "kubeadm "+verb, func(ctx context.Context) error {
		_, err := l.exec(ctx, m.Name, script)
		return err
	})
}

// caHash is what joining machines know the cluster by: the sum of the public key
// of its certificate authority.
func (l *Lab) caHash(ctx context.Context, m Machine) (string, error) {
	data, err := l.exec(ctx, m.Name, "cat /etc/kubernetes/pki/ca.crt")
	if err != nil {
		return "", err
	}
	block, _ := pem.Decode([]byte(data))
	if block == nil {
		return "", fmt.Errorf("machine %s: its certificate authority is not in PEM", m.Name)
	}
	ca, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return "", fmt.Errorf("machine %s: its certificate authority: %w", m.Name, err)
	}
	return fmt.Sprintf("sha256:%x", sha256.Sum256(ca.RawSubjectPublicKeyInfo)), nil
}
