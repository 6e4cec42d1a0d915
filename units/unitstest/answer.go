// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package unitstest

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"slices"
)

// answering is a connection to a component that tells its health once, in the bubble of a test
// with synctest too: nothing of the network is in it.
func answering(component, binary string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	serve := theirs
	if slices.Contains([]string{"kube-apiserver", "kube-controller-manager", "kube-scheduler"}, component) {
		certificate, err := selfSigned()
		if err != nil {
			return nil, err
		}
		serve = tls.Server(theirs, &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12, ClientAuth: tls.RequestClientCert})
	}
	go func() {
		defer theirs.Close() // without TLS saying goodbye, which both would wait to hear
		if _, err := http.ReadRequest(bufio.NewReader(serve)); err != nil {
			return
		}
		status, body := "200 OK", "ok"
		if component == "etcd" {
			body = `{"health":"true","reason":""}`
		}
		if has(binary, "unwell") {
			status, body = "500 Internal Server Error", "[+]ping ok\n[-]something failed: reason withheld\n"
			if component == "etcd" {
				status, body = "503 Service Unavailable", `{"health":"false","reason":"RAFT NO LEADER"}`
			}
		}
		if secure, ok := serve.(*tls.Conn); has(binary, "closed") || has(binary, "secured") && (!ok || len(secure.ConnectionState().PeerCertificates) == 0) {
			status, body = "401 Unauthorized", "Unauthorized"
		}
		_, _ = fmt.Fprintf(serve, "HTTP/1.1 %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", status, len(body), body)
	}()
	return ours, nil
}

// selfSigned is a certificate as components make it for themselves.
func selfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	return tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: key}, err
}

// Certificate is one with its key, as files have them.
func Certificate() (certificate, key string, err error) {
	pair, err := selfSigned()
	if err != nil {
		return "", "", err
	}
	private, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		return "", "", err
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})), nil
}
