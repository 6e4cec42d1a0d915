// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"net/netip"
	"os"
	"time"
)

// authority signs the certificates of a cluster that nobody else makes them for.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// lasting is how long certificates are valid: longer than any lab.
const lasting = 10 * 365 * 24 * time.Hour

// openAuthority reads the lab's authority from its directory, or makes it.
func (l *Lab) openAuthority() (*authority, error) {
	if err := os.MkdirAll(l.path("pki"), 0o700); err != nil {
		return nil, err
	}
	key, err := ecdsaKey(l.path("pki", "ca.key"))
	if err != nil {
		return nil, err
	}
	a := &authority{key: key}
	path := l.path("pki", "ca.crt")
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		template := &x509.Certificate{
			SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: l.network()}, IsCA: true, BasicConstraintsValid: true,
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(lasting), KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		}
		raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		if err != nil {
			return nil, err
		}
		text = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw})
		if err := writeFile(path, text, 0o600); err != nil {
			return nil, err
		}
	} else if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("%s is not in PEM", path)
	}
	a.certificate, err = x509.ParseCertificate(block.Bytes)
	return a, err
}

// ecdsaKey reads a key, or makes it.
func ecdsaKey(path string) (*ecdsa.PrivateKey, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		text, err := keyText(key)
		if err != nil {
			return nil, err
		}
		return key, writeFile(path, []byte(text), 0o600)
	}
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("%s is not in PEM", path)
	}
	return x509.ParseECPrivateKey(block.Bytes)
}

func keyText(key *ecdsa.PrivateKey) (string, error) {
	raw, err := x509.MarshalECPrivateKey(key)
	return string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: raw})), err
}

func publicText(key crypto.PublicKey) (string, error) {
	raw, err := x509.MarshalPKIXPublicKey(key)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: raw})), err
}

// text is the authority's own certificate in PEM.
func (a *authority) text() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.certificate.Raw}))
}

// subject is who a certificate is for: a user and its group, or a server and its names.
type subject struct {
	name, group string
	names       []string
	addresses   []netip.Addr
}

// issue makes a key and a certificate for a subject, in PEM.
func (a *authority) issue(s subject) (certificate, key string, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return "", "", err
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: s.name}, DNSNames: s.names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(lasting), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	if s.group != "" {
		template.Subject.Organization = []string{s.group}
	}
	for _, address := range s.addresses {
		template.IPAddresses = append(template.IPAddresses, net.IP(address.AsSlice()))
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, a.certificate, private.Public(), a.key)
	if err != nil {
		return "", "", err
	}
	key, err = keyText(private)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw})), key, err
}

// kubeconfig is that of a user, who gets a certificate.
func (a *authority) kubeconfig(server string, user subject) (string, error) {
	certificate, key, err := a.issue(user)
	if err != nil {
		return "", err
	}
	in := func(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }
	return fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: lab, cluster: {server: %q, certificate-authority-data: %s}}]
users: [{name: %q, user: {client-certificate-data: %s, client-key-data: %s}}]
contexts: [{name: lab, context: {cluster: lab, user: %q}}]
current-context: lab
`, server, in(a.text()), user.name, in(certificate), in(key), user.name), nil
}
