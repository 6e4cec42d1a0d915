// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package export

import "os"

func syncFile(f *os.File) error { return f.Sync() }

func syncAll(*os.Root) error { return nil }

func lock(*os.Root) (func(), error) { return func() {}, nil }
