// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package twin

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// certLife is how long certificates are valid: twins are not renewed.
const certLife = 10 * 365 * 24 * time.Hour

// keyPair is a certificate with its key, PEM.
type keyPair struct {
	cert, key []byte
}

// authority is a certificate authority. A twin has two: the API server's
// clients must not be able to talk to etcd, past all authorization.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  keyPair
}

// newAuthority makes a self-signed authority.
func newAuthority(name string, now time.Time) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template, err := certTemplate(pkix.Name{CommonName: name}, now)
	if err != nil {
		return nil, err
	}
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	pair, err := encode(der, key)
	return &authority{cert: cert, key: key, pem: pair}, err
}

// subject is whom a certificate is for.
type subject struct {
	user   string
	groups []string
	// names and addresses of a server
	dns []string
	ips []net.IP
}

// issue makes a certificate for s, good for TLS clients, and for servers if s
// has names or addresses.
func (a *authority) issue(s subject, now time.Time) (keyPair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return keyPair{}, err
	}
	template, err := certTemplate(pkix.Name{CommonName: s.user, Organization: s.groups}, now)
	if err != nil {
		return keyPair{}, err
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	if len(s.dns)+len(s.ips) > 0 {
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
		template.DNSNames, template.IPAddresses = s.dns, s.ips
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return keyPair{}, err
	}
	return encode(der, key)
}

func certTemplate(name pkix.Name, now time.Time) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      name,
		NotBefore:    now.Add(-time.Minute),
		NotAfter:     now.Add(certLife),
	}, nil
}

func encode(der []byte, key *ecdsa.PrivateKey) (keyPair, error) {
	raw, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return keyPair{}, err
	}
	return keyPair{
		cert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		key:  pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: raw}),
	}, nil
}

// write writes NAME.crt and NAME.key into dir.
func (p keyPair) write(dir, name string) error {
	return errors.Join(
		os.WriteFile(filepath.Join(dir, name+".crt"), p.cert, 0o600),
		os.WriteFile(filepath.Join(dir, name+".key"), p.key, 0o600),
	)
}

// readPair reads what write wrote.
func readPair(dir, name string) (keyPair, error) {
	cert, err := os.ReadFile(filepath.Join(dir, name+".crt"))
	if err != nil {
		return keyPair{}, err
	}
	key, err := os.ReadFile(filepath.Join(dir, name+".key"))
	return keyPair{cert: cert, key: key}, err
}

// readAuthority reads the authority that was written as NAME into dir.
func readAuthority(dir, name string) (*authority, error) {
	pair, err := readPair(dir, name)
	if err != nil {
		return nil, fmt.Errorf("read the twin's certificate authority: %w", err)
	}
	certPEM, _ := pem.Decode(pair.cert)
	keyPEM, _ := pem.Decode(pair.key)
	if certPEM == nil || keyPEM == nil {
		return nil, fmt.Errorf("read the twin's certificate authority: %s holds no PEM", filepath.Join(dir, name))
	}
	cert, err := x509.ParseCertificate(certPEM.Bytes)
	if err != nil {
		return nil, fmt.Errorf("read the twin's certificate authority: %w", err)
	}
	key, err := x509.ParseECPrivateKey(keyPEM.Bytes)
	if err != nil {
		return nil, fmt.Errorf("read the twin's certificate authority: %w", err)
	}
	return &authority{cert: cert, key: key, pem: pair}, nil
}
