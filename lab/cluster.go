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
	"time"

	"golang.org/x/sync/errgroup"
)

// joined is the file that a machine has once it is part of the cluster.
const joined = "/etc/lab/joined"

// kubectl is how a control plane asks its own API server.
const kubectl = "KUBECONFIG=/etc/kubernetes/admin.conf kubectl "

// joining is what kubeadm.yaml is filled with.
type joining struct {
	Machine
	host
	Join, ControlPlane, Balanced  bool
	Cluster, Version, Endpoint    string
	PodSubnet                     string
	Token, CertificateKey, CAHash string
	// NodeLabels are as the kubelet has them, Taints a JSON list; empty for none.
	NodeLabels, Taints string
}

// cluster makes the machines a cluster, as far as they are not one.
func (l *Lab) cluster(ctx context.Context, made made, progress Progress) error {
	for _, m := range l.founders() {
		if _, err := l.exec(ctx, m.Name, "test -e "+joined); err != nil {
			join := func() error { return l.join(ctx, made.host, progress) }
			if l.record.Options.Flavour == Scratch {
				join = func() error { return l.scratch(ctx, made, progress) }
			}
			if err := join(); err != nil {
				return err
			}
			break
		}
	}
	if err := l.apiReady(ctx); err != nil {
		return err
	}
	return l.connect(ctx)
}

// apiReady returns when the first control plane's API server is ready.
func (l *Lab) apiReady(ctx context.Context) error {
	return within(ctx, bootLimit, "wait for the API server", func(ctx context.Context) error {
		return poll(ctx, 500*time.Millisecond, func() (bool, error) {
			_, err := l.exec(ctx, l.Machines()[0].Name, kubectl+"get --raw /readyz")
			return err == nil, nil
		})
	})
}

// join runs kubeadm on those machines that are not part of the cluster: on the
// first control plane, on the others one at a time because etcd takes one member
// at a time, then on all workers.
func (l *Lab) join(ctx context.Context, h host, progress Progress) error {
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
	if err := l.apiReady(ctx); err != nil {
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
	for _, m := range l.founders()[1:l.record.Options.ControlPlanes] {
		j.ControlPlane = true
		if err := l.kubeadm(ctx, m, j, "join"); err != nil {
			return err
		}
	}
	j.ControlPlane = false
	g, gctx := errgroup.WithContext(ctx)
	for _, m := range l.founders()[l.record.Options.ControlPlanes:] {
		g.Go(func() error { return l.kubeadm(gctx, m, j, "join") })
	}
	return g.Wait()
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
