// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package kubeadm

import (
	"cmp"
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"slices"
	"strings"
	"time"
)

// Certificate is one certificate on a host.
type Certificate struct {
	File string `json:"file"`
	// Subject is its common name.
	Subject  string    `json:"subject,omitempty"`
	NotAfter time.Time `json:"notAfter"`
	// Authority tells that it signs others: kubeadm does not renew those.
	Authority bool `json:"authority,omitempty"`
}

// certificates looks at the certificates in /etc/kubernetes/pki, in the kubelet's
// directory and in the kubeconfig files. Only certificates are read: keys, which are
// in some of these files too, stay on the host.
func (r *reader) certificates(ctx context.Context) ([]Certificate, error) {
	files, err := r.find(ctx, "/etc/kubernetes/pki", "/var/lib/kubelet/pki", "-maxdepth", "2", "-xtype", "f", "(", "-name", "*.crt", "-o", "-name", "*-current.pem", ")")
	if err != nil {
		return nil, err
	}
	var all []Certificate
	if len(files) > 0 {
		slices.Sort(files)
		const program = `/^-----BEGIN CERTIFICATE-----/ { print "file " FILENAME } /^-----BEGIN CERTIFICATE-----/, /^-----END CERTIFICATE-----/ { print }`
		text, err := r.text(ctx, append([]string{"awk", program}, files...)...)
		if err != nil {
			return nil, err
		}
		all = parseCertificates(text)
	}
	configs, err := r.find(ctx, "/etc/kubernetes", "-maxdepth", "1", "-type", "f", "-name", "*.conf")
	if err != nil {
		return nil, err
	}
	if len(configs) > 0 {
		slices.Sort(configs)
		text, err := r.text(ctx, append([]string{"awk", `$1 == "client-certificate-data:" { print FILENAME " " $2 }`}, configs...)...)
		if err != nil {
			return nil, err
		}
		all = append(all, parseEmbedded(text)...)
	}
	slices.SortStableFunc(all, func(a, b Certificate) int {
		return cmp.Or(strings.Compare(a.File, b.File), strings.Compare(a.Subject, b.Subject))
	})
	return all, nil
}

// parseCertificates reads PEM blocks, each after a line "file PATH". What cannot be
// read as a certificate is left out.
func parseCertificates(text string) []Certificate {
	var all []Certificate
	for _, part := range strings.Split("\n"+text, "\nfile ")[1:] {
		file, data, _ := strings.Cut(part, "\n")
		if block, _ := pem.Decode([]byte(data + "\n")); block != nil {
			all = appendCertificate(all, file, block.Bytes)
		}
	}
	return all
}

// parseEmbedded reads lines of a path and a certificate's PEM in base64.
func parseEmbedded(text string) []Certificate {
	var all []Certificate
	for _, line := range lines(text) {
		file, encoded, _ := strings.Cut(line, " ")
		data, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil {
			continue
		}
		if block, _ := pem.Decode(data); block != nil {
			all = appendCertificate(all, file, block.Bytes)
		}
	}
	return all
}

func appendCertificate(all []Certificate, file string, der []byte) []Certificate {
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return all
	}
	return append(all, Certificate{File: file, Subject: c.Subject.CommonName, NotAfter: c.NotAfter.UTC(), Authority: c.IsCA})
}
