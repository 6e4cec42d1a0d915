// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package twin

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// The users of a twin that are its own. manifests/base.yaml says what they may
// do and manifests/maintainer.yaml, manifests/audit.yaml which of them are noise.
const (
	adminUser      = "refit-twin:admin"
	adminGroup     = "refit-twin:admins"
	maintainerUser = "refit-twin:maintainer"
	surgeUser      = "refit-twin:maintainer-surge"
	timeoutUser    = "refit-twin:maintainer-eviction-timeout"
	kubeletUser    = "refit-twin:kubelets" // kwok
	machineUser    = "refit-twin:machines" // the machine controller
)

// SystemGroup is the group of the twin's own parts outside of Kubernetes: what
// they do stands for kubelets and machines.
const SystemGroup = "refit-twin:system"

// identity is a client of the API server; name is that of its certificate and
// of its kubeconfig file.
type identity struct {
	name string
	subject
}

func identities() []identity {
	return []identity{
		{"kube-controller-manager", subject{user: "system:kube-controller-manager"}},
		{"kube-scheduler", subject{user: "system:kube-scheduler"}},
		{"kwok", subject{user: kubeletUser, groups: []string{SystemGroup}}},
		{"machines", subject{user: machineUser, groups: []string{SystemGroup}}},
		{"admin", subject{user: adminUser, groups: []string{adminGroup}}},
		{"maintainer", subject{user: maintainerUser}},
		{"maintainer-surge", subject{user: surgeUser}},
		{"maintainer-eviction-timeout", subject{user: timeoutUser}},
	}
}

// writeCertificates fills the directory pki: two authorities, servers'
// certificates, clients' certificates and the key that signs service account tokens.
func writeCertificates(pki string, now time.Time) error {
	loopback := []net.IP{net.IPv4(127, 0, 0, 1)}
	ca, err := newAuthority("refit-twin", now)
	if err != nil {
		return fmt.Errorf("make the certificate authority: %w", err)
	}
	etcdCA, err := newAuthority("refit-twin-etcd", now)
	if err != nil {
		return fmt.Errorf("make etcd's certificate authority: %w", err)
	}
	tokens, err := newAuthority("refit-twin-service-accounts", now) // only its key is used
	if err != nil {
		return fmt.Errorf("make the service account key: %w", err)
	}
	pairs := map[string]keyPair{"ca": ca.pem, "etcd-ca": etcdCA.pem, "service-accounts": tokens.pem}
	issue := func(by *authority, name string, s subject) {
		if err != nil {
			return
		}
		pairs[name], err = by.issue(s, now)
	}
	issue(etcdCA, "etcd", subject{user: "etcd", dns: []string{"localhost"}, ips: loopback})
	issue(etcdCA, "etcd-client", subject{user: "kube-apiserver"})
	issue(ca, "kube-apiserver", subject{
		user: "kube-apiserver",
		dns:  []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"},
		ips:  append(loopback, net.IPv4(10, 96, 0, 1)),
	})
	for _, id := range identities() {
		issue(ca, id.name, id.subject)
	}
	if err != nil {
		return fmt.Errorf("issue certificates: %w", err)
	}
	for name, pair := range pairs {
		if err := pair.write(pki, name); err != nil {
			return fmt.Errorf("write certificates: %w", err)
		}
	}
	return nil
}

// writeKubeconfigs writes a kubeconfig for each identity, for the API server at port.
func (t *Twin) writeKubeconfigs(port int) error {
	ca, err := os.ReadFile(t.path("pki", "ca.crt"))
	if err != nil {
		return fmt.Errorf("write kubeconfigs: %w", err)
	}
	for _, id := range identities() {
		pair, err := readPair(t.path("pki"), id.name)
		if err != nil {
			return fmt.Errorf("write kubeconfigs: %w", err)
		}
		name := "twin-" + t.name
		cfg := clientcmdapi.Config{
			Clusters:       map[string]*clientcmdapi.Cluster{name: {Server: serverURL(port), CertificateAuthorityData: ca}},
			AuthInfos:      map[string]*clientcmdapi.AuthInfo{id.user: {ClientCertificateData: pair.cert, ClientKeyData: pair.key}},
			Contexts:       map[string]*clientcmdapi.Context{name: {Cluster: name, AuthInfo: id.user}},
			CurrentContext: name,
		}
		if err := clientcmd.WriteToFile(cfg, t.kubeconfig(id.name)); err != nil {
			return fmt.Errorf("write kubeconfigs: %w", err)
		}
	}
	return nil
}

// kubeconfig returns the path of an identity's kubeconfig.
func (t *Twin) kubeconfig(identity string) string {
	return filepath.Join(t.dir, identity+".kubeconfig")
}

// bootstrapConfig is a client in system:masters, which needs no role to make
// the first roles. Its certificate is issued on the spot and kept in memory only.
func (t *Twin) bootstrapConfig(port int, now time.Time) (*rest.Config, error) {
	ca, err := readAuthority(t.path("pki"), "ca")
	if err != nil {
		return nil, err
	}
	pair, err := ca.issue(subject{user: "refit-twin:bootstrap", groups: []string{"system:masters"}}, now)
	if err != nil {
		return nil, fmt.Errorf("issue the bootstrap certificate: %w", err)
	}
	return &rest.Config{
		Host:            serverURL(port),
		TLSClientConfig: rest.TLSClientConfig{CAData: ca.pem.cert, CertData: pair.cert, KeyData: pair.key},
		QPS:             -1, // no client-side limit: there is nobody to be fair to yet
	}, nil
}

func serverURL(port int) string { return fmt.Sprintf("https://127.0.0.1:%d", port) }
