// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package kubeadm

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"refit.dev/refit/host"
)

const (
	// healthLimit is how long one answer may take: etcd gives a read seven seconds at most
	// before it calls itself unhealthy (ReqTimeout with kubeadm's election timeout of one).
	healthLimit = 10 * time.Second
	// healthMost is how much of an answer is read: etcd's metrics are some 300 KB.
	healthMost = 4 << 20
	authority  = "/etc/kubernetes/pki/ca.crt"
)

// Health is what the API server and the member of etcd on a host say of themselves, asked
// from the host itself, and not through a load balancer.
type Health struct {
	// APIServer is what /livez and /readyz of the API server say.
	APIServer Answer `json:"apiServer,omitzero"`
	// Etcd is what the member says of /health: it has answered a read that takes a quorum,
	// with all that was written before, and there is no alarm.
	Etcd Answer `json:"etcd,omitzero"`
	// Alarm is the one that is raised in the cluster of etcd: NOSPACE, CORRUPT; or "".
	Alarm string `json:"alarm,omitempty"`
	// Size is that of the member's database in bytes, Quota how large it may become; 0 is
	// not known.
	Size  int64 `json:"size,omitempty"`
	Quota int64 `json:"quota,omitempty"`
}

// Answer is what something says of its health.
type Answer struct {
	// Asked tells that there is such a component, and that it could be asked.
	Asked bool `json:"asked,omitempty"`
	// Problem says what is not well; "" if all is.
	Problem string `json:"problem,omitempty"`
}

// problems says what is not well, as far as it could be asked.
func (h *Health) problems() []string {
	var list []string
	if h == nil {
		return nil
	}
	if p := h.APIServer.Problem; p != "" {
		list = append(list, "kube-apiserver: "+p)
	}
	if p := h.Etcd.Problem; p != "" {
		list = append(list, "etcd: "+p)
	}
	return list
}

// health asks what runs of a control plane; nil if nothing does. The addresses are those of
// the manifests.
func (r *reader) health(ctx context.Context, pods *Pods) (*Health, error) {
	server, hasServer := pods.Get("kube-apiserver")
	member, hasMember := pods.Get(etcdName)
	if !hasServer && !hasMember {
		return nil, nil
	}
	h := &Health{}
	if hasServer {
		if err := r.serverHealth(ctx, server, h); err != nil {
			return nil, err
		}
	}
	if hasMember {
		if err := r.etcdHealth(ctx, member, h); err != nil {
			return nil, err
		}
	}
	return h, nil
}

func (r *reader) serverHealth(ctx context.Context, server StaticPod, h *Health) error {
	pem, _, err := r.file(ctx, authority)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(pem)) {
		r.gap("whether the API server of the host is well: %s has no certificate to know it by", authority)
		return nil
	}
	address := flagOr(server.Flags, "advertise-address", "127.0.0.1")
	base := "https://" + net.JoinHostPort(address, flagOr(server.Flags, "secure-port", "6443"))
	for _, path := range []string{"/livez", "/readyz"} {
		code, body, err := r.get(ctx, base+path, roots)
		switch {
		case errors.Is(err, host.ErrNoForwarding):
			r.gap("whether the API server of the host is well: %v", err)
			return nil
		case err != nil && (ctx.Err() != nil || host.Temporary(err)):
			return fmt.Errorf("ask the API server on the host: %w", err)
		case err != nil:
			h.APIServer = Answer{Asked: true, Problem: plainError(err)}
			return nil
		// Where anonymous requests are not allowed, the refusal comes from one that works.
		case code != http.StatusOK && code != http.StatusUnauthorized && code != http.StatusForbidden:
			h.APIServer = Answer{Asked: true, Problem: fmt.Sprintf("%s says %d%s", path, code, failedChecks(body))}
			return nil
		}
	}
	h.APIServer = Answer{Asked: true}
	return nil
}

// failedChecks are those in the answer of /readyz: "[-]etcd failed: reason withheld".
func failedChecks(body string) string {
	var failed []string
	for _, line := range lines(body) {
		if check, found := strings.CutPrefix(line, "[-]"); found {
			failed = append(failed, check)
		}
	}
	if len(failed) == 0 {
		return ""
	}
	return ": " + strings.Join(failed, ", ")
}

// etcdHealth asks the member where kubeadm has it tell its health and its metrics
// without certificates, on the loopback. See server/etcdserver/api/etcdhttp in etcd-io/etcd.
func (r *reader) etcdHealth(ctx context.Context, member StaticPod, h *Health) error {
	urls := strings.Split(flagValue(member.Flags, "listen-metrics-urls"), ",")
	i := slices.IndexFunc(urls, func(u string) bool { return strings.HasPrefix(u, "http://") })
	if i < 0 {
		r.gap("whether the member of etcd is well: its manifest has no plain address in --listen-metrics-urls")
		return nil
	}
	base := strings.TrimRight(urls[i], "/")
	code, body, err := r.get(ctx, base+"/health", nil)
	switch {
	case errors.Is(err, host.ErrNoForwarding):
		r.gap("whether the member of etcd is well: %v", err)
		return nil
	case err != nil && (ctx.Err() != nil || host.Temporary(err)):
		return fmt.Errorf("ask etcd on the host: %w", err)
	case err != nil:
		h.Etcd = Answer{Asked: true, Problem: plainError(err)}
		return nil
	}
	h.Etcd = Answer{Asked: true}
	var answer struct{ Health, Reason string }
	switch err := json.Unmarshal([]byte(body), &answer); {
	case err != nil:
		h.Etcd.Problem = fmt.Sprintf("/health says %d, and nothing that could be understood", code)
	case answer.Health != "true":
		h.Etcd.Problem = "it is not healthy: " + answer.Reason
		h.Alarm, _ = strings.CutPrefix(answer.Reason, "ALARM ")
		if h.Alarm == answer.Reason {
			h.Alarm = ""
		}
	}
	if code, body, err = r.get(ctx, base+"/metrics", nil); err == nil && code == http.StatusOK {
		h.Size = metric(body, "etcd_mvcc_db_total_size_in_bytes")
		h.Quota = metric(body, "etcd_server_quota_backend_bytes")
		if metric(body, "etcd_server_is_learner") == 1 {
			h.Etcd.Problem = "the member is a learner, which has no vote yet"
		}
	}
	return nil
}

// metric returns a number of Prometheus' text format; 0 if it is not there.
func metric(text, name string) int64 {
	for _, line := range lines(text) {
		if value, found := strings.CutPrefix(line, name+" "); found {
			if n, err := strconv.ParseFloat(value, 64); err == nil {
				return int64(n)
			}
		}
	}
	return 0
}

// get asks a URL from the host; roots are for https.
func (r *reader) get(ctx context.Context, address string, roots *x509.CertPool) (code int, body string, err error) {
	limited, cancel := context.WithTimeoutCause(ctx, healthLimit, fmt.Errorf("no answer within %s", healthLimit))
	defer cancel()
	client := &http.Client{Transport: &http.Transport{
		DialContext:       func(ctx context.Context, _, address string) (net.Conn, error) { return r.m.Dial(ctx, address) },
		TLSClientConfig:   &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		DisableKeepAlives: true,
	}}
	request, err := http.NewRequestWithContext(limited, http.MethodGet, address, nil)
	if err != nil {
		return 0, "", err
	}
	response, err := client.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	data, err := io.ReadAll(io.LimitReader(response.Body, healthMost))
	return response.StatusCode, string(data), err
}

// plainError is an error of a request without the URL around it.
func plainError(err error) string {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	return "it does not answer: " + err.Error()
}

func flagOr(flags []string, name, otherwise string) string {
	if value := flagValue(flags, name); value != "" {
		return value
	}
	return otherwise
}
