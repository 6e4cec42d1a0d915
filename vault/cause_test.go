// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package vault

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"gocloud.dev/blob/memblob"
	"google.golang.org/api/googleapi"
	"k8s.io/utils/clock"
)

// onAzure is a store in a container of a server that answers as it is told to.
func onAzure(t *testing.T, domain string) *Store {
	t.Helper()
	t.Setenv("AZURE_STORAGE_ACCOUNT", "refit")
	t.Setenv("AZURE_STORAGE_KEY", "cmVmaXQ=")
	return open(t, (&url.URL{Scheme: "azblob", Host: "backups", Path: "prod", RawQuery: url.Values{"protocol": {"http"}, "domain": {domain}, "localemu": {"true"}}.Encode()}).String())
}

// TestAnswersOfAzure are told in a line.
func TestAnswersOfAzure(t *testing.T) {
	for _, c := range []struct {
		status     int
		code, says string
	}{
		{http.StatusNotFound, "ContainerNotFound", `there is no container "backups": status 404: ContainerNotFound`},
		{http.StatusForbidden, "AuthorizationFailure", "list manifests/ of azblob://backups/prod?"},
		{http.StatusForbidden, "AuthorizationFailure", ": status 403: AuthorizationFailure"},
		{http.StatusForbidden, "", ": status 403: Forbidden"},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("x-ms-error-code", c.code)
			w.WriteHeader(c.status)
			_, _ = io.WriteString(w, `<?xml version="1.0"?><Error><Code>`+c.code+`</Code></Error>`)
		}))
		_, err := onAzure(t, strings.TrimPrefix(server.URL, "http://")).List(t.Context(), nil)
		server.Close()
		if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "\n") {
			t.Errorf("want %q in a line: %v", c.says, err)
		}
		if errors.Is(err, ErrNotFound) {
			t.Errorf("that is no answer about sets: %v", err)
		}
	}
}

// TestWhatIsNotThere: what could not be asked, or may not be seen, is not gone.
func TestWhatIsNotThere(t *testing.T) {
	bucket := memblob.OpenBucket(nil)
	defer bucket.Close()
	gone := bucket.Delete(t.Context(), "x")
	for want, errs := range map[bool][]error{
		true: {gone, errors.Join(gone, &googleapi.Error{Code: http.StatusNotFound})},
		false: {
			nil, errors.New("x"), errors.Join(gone, &net.DNSError{Err: "no such host", IsNotFound: true}),
			errors.Join(gone, &googleapi.Error{Code: http.StatusForbidden}),
		},
	} {
		for _, err := range errs {
			if isNotFound(err) != want {
				t.Errorf("%v: want %v", err, want)
			}
		}
	}
}

// TestPlainly is about what is told of an error: a line with its cause, and no signature, with which everybody could read and
// write a store.
func TestPlainly(t *testing.T) {
	const asked = "https://refit.blob.core.windows.net/backups?comp=list&sig=c2VjcmV0&sv=2021-08-06"
	for want, err := range map[string]error{
		"blob: Get https://refit.blob.core.windows.net/backups: proxyconnect https://refit.blob.core.windows.net/backups: refused": fmt.Errorf("blob: %w",
			&url.Error{Op: "Get", URL: asked, Err: &url.Error{Op: "proxyconnect", URL: asked, Err: errors.New("refused")}}),
		"status 403: Forbidden":    &googleapi.Error{Code: http.StatusForbidden, Body: "<html>\n<h1>no</h1>"},
		"status 403: may not list": fmt.Errorf("blob: %w", &googleapi.Error{Code: http.StatusForbidden, Message: "may not\nlist"}),
		"something else":           errors.New("something else"),
	} {
		if got := plainly(err); got.Error() != want || !errors.Is(got, err) {
			t.Errorf("got  %v\nwant %s", got, want)
		}
	}
}

// TestWithoutCredentialsOfGoogle says so at once.
func TestWithoutCredentialsOfGoogle(t *testing.T) {
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere")
	t.Setenv("STORAGE_EMULATOR_HOST", "")
	t.Setenv("STORAGE_EMULATOR_HOST_GRPC", "")
	where, err := ParseStore("gs://backups/prod")
	must(t, err)
	if s, err := Open(t.Context(), where, clock.RealClock{}, 0, true); err == nil {
		_ = s.Close()
		t.Error("it is opened")
	} else if !strings.Contains(err.Error(), "credentials for Google Cloud") {
		t.Error(err)
	}
}
