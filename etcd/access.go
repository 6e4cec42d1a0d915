// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"refit.dev/refit/host"
	"refit.dev/refit/internal/hint"
)

// Access is how etcd is reached.
type Access struct {
	// Endpoints are URLs, or HOST:PORT, which is TLS if there is a TLS configuration.
	Endpoints []string
	// TLS is nil for members without.
	TLS *tls.Config
	// User and Password are "" where etcd asks for none.
	User, Password string
	// Dial opens connections; nil dials from here.
	Dial func(ctx context.Context, address string) (net.Conn, error)
	// Patience is how long an endpoint has to answer.
	Patience time.Duration
}

// Credentials are PEM files' contents. All are nil for members without TLS.
type Credentials struct {
	CA, Certificate, Key []byte
	// Insecure takes any certificate.
	Insecure bool
}

// TLS makes a configuration of them, nil of none. The error says which is not fit.
func (c Credentials) TLS() (*tls.Config, error) {
	if len(c.CA) == 0 && len(c.Certificate) == 0 && len(c.Key) == 0 && !c.Insecure {
		return nil, nil
	}
	t := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: c.Insecure} //nolint:gosec // said by the user
	if len(c.CA) > 0 {
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(c.CA) {
			return nil, errors.New("the file of the certificate authority has no certificate")
		}
	}
	if len(c.Certificate) > 0 || len(c.Key) > 0 {
		pair, err := tls.X509KeyPair(c.Certificate, c.Key)
		if err != nil {
			return nil, fmt.Errorf("the client certificate and its key: %w", err)
		}
		t.Certificates = []tls.Certificate{pair}
	}
	return t, nil
}

// Check says what is wrong with the endpoints, without asking anybody.
func (a Access) Check() error {
	if len(a.Endpoints) == 0 {
		return errors.New("no endpoint of etcd is given")
	}
	for _, e := range a.Endpoints {
		if _, err := a.endpoint(e); err != nil {
			return err
		}
	}
	return nil
}

// endpoint is the URL of an endpoint, whatever way it is written.
func (a Access) endpoint(text string) (*url.URL, error) {
	if !strings.Contains(text, "://") {
		scheme := "http"
		if a.TLS != nil {
			scheme = "https"
		}
		text = scheme + "://" + text
	}
	u, err := url.Parse(text)
	switch {
	case strings.Contains(text, "@"): // and it is not repeated
		return nil, hint.Wrap(errors.New("an endpoint with a login or another @: want http://HOST:PORT or https://HOST:PORT"), "a user of etcd is named with --user, and the password with ETCDCTL_PASSWORD")
	case err != nil:
		return nil, fmt.Errorf("endpoint %q: %w", text, err)
	case u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "", u.Port() == "":
		return nil, fmt.Errorf("endpoint %q: want http://HOST:PORT or https://HOST:PORT", text)
	}
	return u, nil
}

func (a Access) dial(ctx context.Context, address string) (net.Conn, error) {
	if a.Dial != nil {
		return a.Dial(ctx, address)
	}
	return (&net.Dialer{}).DialContext(ctx, "tcp", address)
}

// connect makes a client of one endpoint, whose address it has reached: the client itself
// would only tell that it waited in vain.
func (a Access) connect(ctx context.Context, endpoint string) (*clientv3.Client, error) {
	u, err := a.endpoint(endpoint)
	if err != nil {
		return nil, err
	}
	if err := a.knock(ctx, u); err != nil {
		return nil, err
	}
	c := clientv3.Config{
		Endpoints: []string{u.String()}, Username: a.User, Password: a.Password, Context: ctx, Logger: zap.NewNop(),
		DialTimeout: a.Patience, DialKeepAliveTime: a.Patience, DialKeepAliveTimeout: a.Patience,
		DialOptions: []grpc.DialOption{
			grpc.WithContextDialer(a.dial),
			// The whole window is drained before the disk has taken it: an open snapshot
			// keeps etcd from using pages again.
			grpc.WithInitialWindowSize(window), grpc.WithInitialConnWindowSize(window),
		},
	}
	if u.Scheme == "https" {
		if c.TLS = a.TLS; c.TLS == nil {
			c.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
		}
	}
	client, err := clientv3.New(c)
	if err != nil {
		return nil, fmt.Errorf("connect to etcd at %s: %w", u, err)
	}
	return client, nil
}

// window is how many bytes of a stream may be on their way.
const window = 16 << 20

// greeting is how a client of HTTP/2 begins (RFC 9113, 3.4), with empty settings.
const greeting = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + "\x00\x00\x00\x04\x00\x00\x00\x00\x00"

// knock connects to an endpoint and waits for its first byte: only with that a server of
// TLS 1.3 tells whether it takes the client's certificate.
func (a Access) knock(ctx context.Context, u *url.URL) error {
	ctx, cancel := context.WithTimeoutCause(ctx, a.Patience, fmt.Errorf("no answer within %s", a.Patience))
	defer cancel()
	conn, err := a.dial(ctx, u.Host)
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		what := "see that etcd runs there and listens on that address"
		if errors.Is(err, host.ErrNoForwarding) {
			what = "let its SSH server do that (AllowTcpForwarding local), or run refit on that machine"
		}
		return hint.Wrap(fmt.Errorf("connect to etcd at %s: %w", u, err), "%s", what)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })() // reading knows of no context
	what := "see that it is etcd that listens there, and whether it wants https"
	if u.Scheme == "https" {
		config := &tls.Config{MinVersion: tls.VersionTLS12}
		if a.TLS != nil {
			config = a.TLS.Clone()
		}
		config.ServerName, config.NextProtos = u.Hostname(), []string{"h2"}
		conn = tls.Client(conn, config)
		what = "give etcd's certificate authority with --cacert, and a client certificate with --cert and --key"
	}
	if _, err = io.WriteString(conn, greeting); err == nil {
		_, err = conn.Read(make([]byte, 1))
	}
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return hint.Wrap(fmt.Errorf("connect to etcd at %s: %w", u, err), "%s", what)
	}
	return nil
}
