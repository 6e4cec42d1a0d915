// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package units

import "fmt"

// RolledBackError says that a component was not well in time, and that the binary of before is
// in its place again.
type RolledBackError struct {
	Component, Version string
	// Why says what was not well.
	Why string
	// Still says what is not well with the binary of before either; "" if it is well.
	Still string
}

func (e *RolledBackError) Error() string {
	text := fmt.Sprintf("%s %s was not well in time (%s), and was rolled back to the binary of before", e.Component, e.Version, e.Why)
	if e.Still != "" {
		return text + ", which is not well either: " + e.Still
	}
	return text + ", which runs and is well"
}

// NotBackError says that a component was not well in time, and that the binary of before could
// not be put back.
type NotBackError struct {
	Component, Version string
	// Why says what was not well.
	Why string
	// Program is the path that the service starts, which still is the new binary, and Kept the
	// one of before.
	Program, Kept string
	Err           error
}

func (e *NotBackError) Error() string {
	return fmt.Sprintf("%s %s was not well in time (%s), and could not be rolled back: %v", e.Component, e.Version, e.Why, e.Err)
}

func (e *NotBackError) Unwrap() error { return e.Err }
