// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package vault

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"gocloud.dev/gcerrors"
	"gocloud.dev/gcp"
	"google.golang.org/api/googleapi"

	"refit.dev/refit/internal/hint"
)

// failed says what was being done when something failed.
func (s *Store) failed(ctx context.Context, what, key string, err error) error {
	if ctx.Err() != nil {
		if cause := context.Cause(ctx); !errors.Is(err, cause) && !errors.Is(cause, context.Canceled) {
			err = cause
		}
	}
	doing := fmt.Sprintf("%s %s of %s", what, key, s.where)
	missing := isNotFound(err)
	err = plainly(err)
	switch {
	case missing && s.dir == "" && (what == "list" || what == "write"): // what is listed and written need not be there
		bucket := "bucket"
		if s.where.scheme == "azblob" {
			bucket = "container"
		}
		return hint.Wrap(fmt.Errorf("%s: there is no %s %q: %w", doing, bucket, s.where.bucket, err), "mend its name, or make it with the tools of the store")
	case missing:
		return fmt.Errorf("%s: %w: %w", doing, ErrNotFound, err)
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// isNotFound tells whether a store has said that something is not there. To gocloud.dev two more are the same: with azblob: a
// name that cannot be resolved, which may be a network's fault, and with gs: what one may not see.
func isNotFound(err error) bool {
	_, unresolved := errors.AsType[*net.DNSError](err)
	answer, google := errors.AsType[*googleapi.Error](err)
	return gcerrors.Code(err) == gcerrors.NotFound && !unresolved && (!google || answer.Code == http.StatusNotFound)
}

// plainError is an error of a store's SDK in one line that has no secrets.
type plainError struct {
	text string
	err  error
}

func (e *plainError) Error() string { return e.text }
func (e *plainError) Unwrap() error { return e.err }

// answerOfS3 is github.com/aws/smithy-go.APIError.
type answerOfS3 interface {
	error
	ErrorCode() string
	ErrorMessage() string
}

// plainly leaves out what SDKs tell beside the cause. They repeat the URL that was asked, and with a
// shared access signature that URL is a key.
func plainly(err error) error {
	if answer, ok := errors.AsType[*azcore.ResponseError](err); ok { // dumps the whole answer
		return &plainError{status(answer.StatusCode, answer.ErrorCode), err}
	}
	if answer, ok := errors.AsType[*googleapi.Error](err); ok { // does so, too
		return &plainError{status(answer.Code, answer.Message), err}
	}
	if answer, ok := errors.AsType[answerOfS3](err); ok {
		return &plainError{answer.ErrorCode() + ": " + answer.ErrorMessage(), err}
	}
	text := ""
	for at := err; ; {
		request, ok := errors.AsType[*url.Error](at)
		if !ok {
			break
		}
		if text == "" {
			text = err.Error()
		}
		asked := "the store"
		if u, err := url.Parse(request.URL); err == nil {
			asked = (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
		}
		text = strings.ReplaceAll(text, strconv.Quote(request.URL), asked)
		text = strings.ReplaceAll(text, request.URL, asked)
		at = request.Err
	}
	if text == "" {
		return err
	}
	return &plainError{text, err}
}

// status is an answer of HTTP in a line.
func status(code int, says string) string {
	return fmt.Sprintf("status %d: %s", code, cmp.Or(strings.Join(strings.Fields(says), " "), http.StatusText(code)))
}

// knowsGoogle finds out whether there are credentials for gs:. gocloud.dev would go on without, print that to the
// standard output, and fail later for another reason.
func knowsGoogle(ctx context.Context, where Location) error {
	query := where.query
	anonymous, _ := strconv.ParseBool(query.Get("anonymous")) // what is neither, gocloud.dev refuses
	if os.Getenv("STORAGE_EMULATOR_HOST") != "" || os.Getenv("STORAGE_EMULATOR_HOST_GRPC") != "" || anonymous || query.Get("access_id") == "-" {
		return nil
	}
	if _, err := gcp.DefaultCredentials(ctx); err != nil {
		return hint.Wrap(fmt.Errorf("credentials for Google Cloud: %w", plainly(err)),
			"GOOGLE_APPLICATION_CREDENTIALS names a file with some; gcloud auth application-default login makes one")
	}
	return nil
}
