// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package restore

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"path"
	"strings"
	"time"
)

// certificateLife is how long the kubelet's certificate is good, as kubeadm's is
// (https://kubernetes.io/docs/tasks/administer-cluster/kubeadm/kubeadm-certs/). The kubelet renews it by itself.
const certificateLife = 365 * 24 * time.Hour

// clientPair makes a certificate for the kubelet of a node, signed by an authority, and its key, as the kubelet keeps them: both
// in one file of PEM. Its name and group are those by which the API server knows nodes
// (https://kubernetes.io/docs/reference/access-authn-authz/node/).
func clientPair(caText, caKeyText []byte, node string, now time.Time) ([]byte, error) {
	ca, err := parseCertificate(caText)
	if err != nil {
		return nil, err
	}
	caKey, err := parseKey(caKeyText)
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	until := now.Add(certificateLife)
	if ca.NotAfter.Before(until) {
		until = ca.NotAfter
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "system:node:" + node, Organization: []string{"system:nodes"}},
		NotBefore: ca.NotBefore, NotAfter: until, // clocks may differ
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca, key.Public(), caKey)
	if err != nil {
		return nil, err
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = errors.Join(pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.Encode(&out, &pem.Block{Type: "EC PRIVATE KEY", Bytes: private}))
	return out.Bytes(), err
}

func parseCertificate(text []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errors.New("it is no certificate in PEM")
	}
	return x509.ParseCertificate(block.Bytes)
}

// parseKey reads a private key of RSA or ECDSA, in any of the forms that kubeadm and openssl write.
func parseKey(text []byte) (crypto.Signer, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("it is no private key in PEM")
	}
	if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	if key, err := x509.ParseECPrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if signer, ok := key.(crypto.Signer); err == nil && ok {
		return signer, nil
	}
	return nil, errors.New("it is no private key of RSA or ECDSA")
}

// expired names the certificates among files that are good no more.
func expired(files []File, now time.Time) (list []string) {
	for _, f := range files {
		if path.Ext(f.Path) != ".crt" || !strings.HasPrefix(f.Path, "/etc/kubernetes/pki/") {
			continue
		}
		if c, err := parseCertificate(f.Data); err == nil && now.After(c.NotAfter) {
			list = append(list, fmt.Sprintf("%s, since %s", f.Path, c.NotAfter.Format(time.DateOnly)))
		}
	}
	return list
}
