// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"refit.dev/refit/internal/hint"
)

// CodeUnread is the code of a Finding about a resource that could not be read.
// CodeTorn is that of one about a Snapshot whose lists are of different moments.
const (
	CodeUnread = "unread-resource"
	CodeTorn   = "snapshot-torn"
)

// explain says that reading what failed with err, and adds what can be done about it.
func explain(err error, what string) error {
	if err == nil {
		return nil
	}
	wrapped := fmt.Errorf("read %s: %w", what, err)
	var (
		invalid   x509.CertificateInvalidError
		authority x509.UnknownAuthorityError
		hostname  x509.HostnameError
		dns       *net.DNSError
		op        *net.OpError
	)
	switch {
	case errors.Is(err, context.Canceled):
		return wrapped
	case apierrors.IsUnauthorized(err):
		return hint.Wrap(wrapped, "the API server does not know these credentials: log in again, or renew the token or client certificate "+
			"of this kubeconfig context (an expired client certificate looks like this too)")
	case expiredClientCertificate(err):
		return hint.Wrap(wrapped, "the client certificate of this kubeconfig context has expired: renew it (kubeadm: `kubeadm certs renew admin.conf`)")
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return hint.Wrap(wrapped, "the API server's certificate is outside its period of validity: renew it "+
			"(kubeadm: `kubeadm certs renew apiserver`), or set this machine's clock right")
	case errors.As(err, &authority), errors.As(err, &invalid):
		return hint.Wrap(wrapped, "the API server's certificate is not signed by the authority in the kubeconfig: "+
			"check certificate-authority-data and that this is the right server")
	case errors.As(err, &hostname):
		return hint.Wrap(wrapped, "the API server's certificate is for other names: check the server address in the kubeconfig, or set tls-server-name")
	case errors.As(err, &dns):
		return hint.Wrap(wrapped, "the API server's name cannot be resolved: check the server address in the kubeconfig and this machine's DNS")
	case apierrors.IsForbidden(err):
		return hint.Wrap(wrapped, "give this user the rights that refit needs: docs/how-to/rbac.md")
	case errors.As(err, &op), errors.Is(err, context.DeadlineExceeded), apierrors.IsTimeout(err), apierrors.IsServiceUnavailable(err):
		return hint.Wrap(wrapped, "the API server cannot be reached: check that it runs, and the server address in the kubeconfig (see --context)")
	}
	return wrapped
}

// Explain adds to err, with which reading what failed, a hint about what can be
// done, for those who read without Read or Watch. A nil err stays nil.
func Explain(err error, what string) error { return explain(err, what) }

// explainResource is explain for one resource, whose permission it names if that is what is missing.
func explainResource(err error, resource schema.GroupResource) error {
	if apierrors.IsForbidden(err) {
		return hint.Wrap(fmt.Errorf("read %s: %w", resource, err), "%s", permissionHint(resource))
	}
	return explain(err, resource.String())
}

// permissionHint says how to get the permission to read a resource.
func permissionHint(resource schema.GroupResource) string {
	return fmt.Sprintf("allow this user get, list and watch of %s in the whole cluster: "+
		"kubectl create clusterrole NAME --verb=get,list,watch --resource=%[1]s, bound by a clusterrolebinding", resource)
}

// refusal tells whether err says no for good: asking again with the same
// credentials does not help. What a server says while it starts can look the
// same, so that a single refusal in the middle of a watch is not believed.
func refusal(err error) bool {
	var invalid x509.CertificateInvalidError
	var authority x509.UnknownAuthorityError
	var hostname x509.HostnameError
	return apierrors.IsUnauthorized(err) || apierrors.IsForbidden(err) || expiredClientCertificate(err) ||
		errors.As(err, &invalid) || errors.As(err, &authority) || errors.As(err, &hostname)
}

// expiredClientCertificate recognises the alert with which a TLS server refuses
// an expired client certificate. crypto/tls has no type for it outside of QUIC.
func expiredClientCertificate(err error) bool {
	return strings.Contains(err.Error(), "remote error: tls: expired certificate")
}
