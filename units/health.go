// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package units

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"refit.dev/refit/host"
)

const (
	// healthLimit is how long one answer may take, healthMost how much of it is read.
	healthLimit = 10 * time.Second
	healthMost  = 1 << 20
)

// Answer is what a component says of its health.
type Answer struct {
	// Asked tells that it could be asked.
	Asked bool
	// Problem says what is not well; "" if all is.
	Problem string
	// Alarm is the one that is raised in a cluster of etcd: NOSPACE, CORRUPT; or "".
	Alarm string
}

// healthz notes where a configuration has the health asked for.
func (u *Unit) healthz(c configuration) {
	if u.healthAddress, u.healthPort = c.HealthzBindAddress, ""; c.HealthzPort != nil {
		u.healthPort = fmt.Sprint(*c.HealthzPort)
	}
}

// healthAt is where a kubelet or a kube-proxy tells its health: flags come before the
// configuration. The address of a kube-proxy may have a port.
func (u *Unit) healthAt(port string) (string, string) {
	address := u.flag("healthz-bind-address", u.healthAddress)
	port = u.flag("healthz-port", cmp.Or(u.healthPort, port))
	if host, own, err := net.SplitHostPort(address); err == nil {
		return host, own
	}
	return address, port
}

// endpoints are where a component tells its health, by the defaults of
// https://kubernetes.io/docs/reference/networking/ports-and-protocols/ and its flags; none if
// it does not, or not without a login.
func (u *Unit) endpoints() []string {
	at := func(scheme, address, port, path string) string {
		if ip := net.ParseIP(address); ip == nil || ip.IsUnspecified() {
			address = "127.0.0.1"
		}
		return scheme + "://" + net.JoinHostPort(address, port) + path
	}
	switch u.Component {
	case Etcd:
		// Clients are told it too, see server/embed in etcd-io/etcd.
		for _, name := range []string{"listen-metrics-urls", "listen-client-urls"} {
			for address := range strings.SplitSeq(u.setting(name), ",") {
				if found, err := url.Parse(strings.TrimSpace(address)); err == nil && found.Scheme == "http" && found.Port() != "" {
					return []string{at("http", found.Hostname(), found.Port(), "/health")}
				}
			}
		}
	case APIServer:
		address, port := u.flag("bind-address", ""), u.flag("secure-port", "6443")
		return []string{at("https", address, port, "/livez"), at("https", address, port, "/readyz")}
	case ControllerManager:
		return []string{at("https", u.flag("bind-address", ""), u.flag("secure-port", "10257"), "/healthz")}
	case Scheduler:
		return []string{at("https", u.flag("bind-address", ""), u.flag("secure-port", "10259"), "/healthz")}
	case Kubelet, KubeProxy:
		address, port := u.healthAt(map[string]string{Kubelet: "10248", KubeProxy: "10256"}[u.Component])
		if port != "0" {
			return []string{at("http", address, port, "/healthz")}
		}
	}
	return nil
}

// health asks a component. The error is of the connection to the machine.
func (r *reader) health(ctx context.Context, u *Unit) (Answer, error) {
	if u.Service.PID == 0 {
		return Answer{}, nil
	}
	endpoints := u.endpoints()
	if len(endpoints) == 0 {
		r.gap("whether %s is well: it tells that nowhere without a login", u.Component)
		return Answer{}, nil
	}
	var login []tls.Certificate
	for _, endpoint := range endpoints {
		code, body, err := r.get(ctx, endpoint, login)
		if err == nil && unauthorized(code) && login == nil {
			if login, err = r.login(ctx, u); err == nil && login != nil {
				code, body, err = r.get(ctx, endpoint, login)
			}
		}
		switch {
		case errors.Is(err, host.ErrNoForwarding):
			r.gap("whether %s is well: %v", u.Component, err)
			return Answer{}, nil
		case err != nil && (ctx.Err() != nil || host.Temporary(err)):
			return Answer{}, fmt.Errorf("ask %s: %w", u.Component, err)
		case err != nil:
			if wrapped, ok := errors.AsType[*url.Error](err); ok {
				err = wrapped.Err
			}
			return Answer{Asked: true, Problem: "it does not answer: " + err.Error()}, nil
		case u.Component == Etcd:
			return etcdAnswer(code, body), nil
		case unauthorized(code): // the refusal comes before anything is looked at
			r.gap("whether %s is well: it answers, and tells that nobody without a login", u.Component)
			return Answer{}, nil
		case code != http.StatusOK:
			return Answer{Asked: true, Problem: fmt.Sprintf("%s says %d%s", endpoint[strings.LastIndexByte(endpoint, '/'):], code, failedChecks(body))}, nil
		}
	}
	return Answer{Asked: true}, nil
}

func unauthorized(code int) bool {
	return code == http.StatusUnauthorized || code == http.StatusForbidden
}

// login is the certificate by which an API server asks kubelets, which it lets ask itself too
// where both trust the same authority; nil if it has none. It does not leave this process:
// TLS shows that somebody has its key, and not the key.
func (r *reader) login(ctx context.Context, u *Unit) ([]tls.Certificate, error) {
	certificate, key := u.flag("kubelet-client-certificate", ""), u.flag("kubelet-client-key", "")
	if u.Component != APIServer || certificate == "" || key == "" {
		return nil, nil
	}
	var text [2][]byte
	for i, file := range []string{certificate, key} {
		var err error
		if text[i], err = r.m.ReadFile(ctx, file); err != nil {
			if ctx.Err() != nil || host.Temporary(err) {
				return nil, err
			}
			return nil, nil // it cannot be asked, which is told
		}
	}
	pair, err := tls.X509KeyPair(text[0], text[1])
	if err != nil {
		return nil, nil //nolint:nilerr // it cannot be asked, which is told
	}
	return []tls.Certificate{pair}, nil
}

// etcdAnswer reads what /health of etcd says: see server/etcdserver/api/etcdhttp in etcd-io/etcd.
func etcdAnswer(code int, body string) Answer {
	a := Answer{Asked: true}
	var answer struct{ Health, Reason string }
	switch err := json.Unmarshal([]byte(body), &answer); {
	case err != nil:
		a.Problem = fmt.Sprintf("/health says %d, and nothing that could be understood", code)
	case answer.Health != "true":
		a.Problem = "it is not healthy: " + answer.Reason
		if alarm, found := strings.CutPrefix(answer.Reason, "ALARM "); found {
			a.Alarm = alarm
		}
	}
	return a
}

// failedChecks are those in the answer of /readyz: "[-]etcd failed: reason withheld".
func failedChecks(body string) string {
	var failed []string
	for line := range strings.Lines(body) {
		if check, found := strings.CutPrefix(strings.TrimSpace(line), "[-]"); found {
			failed = append(failed, check)
		}
	}
	if len(failed) == 0 {
		return ""
	}
	return ": " + strings.Join(failed, ", ")
}

// get asks a URL of the machine's own. The connection is opened on the machine, to itself,
// and nothing is told there that is a secret: its certificates, which many components make for
// themselves, are not looked at.
func (r *reader) get(ctx context.Context, address string, login []tls.Certificate) (code int, body string, err error) {
	limited, cancel := context.WithTimeoutCause(ctx, healthLimit, fmt.Errorf("no answer within %s", healthLimit))
	defer cancel()
	client := &http.Client{Transport: &http.Transport{
		DialContext:       func(ctx context.Context, _, address string) (net.Conn, error) { return r.m.Dial(ctx, address) },
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true, Certificates: login, MinVersion: tls.VersionTLS12},
		DisableKeepAlives: true,
	}}
	request, err := http.NewRequestWithContext(limited, http.MethodGet, address, http.NoBody)
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
