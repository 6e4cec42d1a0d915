// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package vault

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"gocloud.dev/gcerrors"
	"gocloud.dev/gcp"

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

// isNotFound tells whether a store has said that something is not there. To gocloud.dev a name that cannot be
// resolved, which may be a network's fault, is the same with azblob:.
func isNotFound(err error) bool {
	_, unresolved := errors.AsType[*net.DNSError](err)
	return gcerrors.Code(err) == gcerrors.NotFound && !unresolved
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
		return &plainError{fmt.Sprintf("status %d: %s", answer.StatusCode, answer.ErrorCode), err}
	}
	if answer, ok := errors.AsType[answerOfS3](err); ok {
		return &plainError{answer.ErrorCode() + ": " + answer.ErrorMessage(), err}
	}
	if request, ok := errors.AsType[*url.Error](err); ok {
		asked := "the store"
		if u, err := url.Parse(request.URL); err == nil {
			asked = (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
		}
		return &plainError{fmt.Sprintf("%s %s: %v", request.Op, asked, plainly(request.Err)), err}
	}
	return err
}

// knowsGoogle finds out whether there are credentials for gs:. gocloud.dev would go on without, print that to the
// standard output, and fail later for another reason.
func knowsGoogle(ctx context.Context, where Location) error {
	query := where.query
	if os.Getenv("STORAGE_EMULATOR_HOST") != "" || os.Getenv("STORAGE_EMULATOR_HOST_GRPC") != "" || query.Get("anonymous") == "true" || query.Get("access_id") == "-" {
		return nil
	}
	if _, err := gcp.DefaultCredentials(ctx); err != nil {
		return hint.Wrap(fmt.Errorf("credentials for Google Cloud: %w", plainly(err)),
			"GOOGLE_APPLICATION_CREDENTIALS names a file with some; gcloud auth application-default login makes one")
	}
	return nil
}
