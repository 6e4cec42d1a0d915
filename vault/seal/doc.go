// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

// Package seal compresses (zstd, RFC 8878) and encrypts (age, https://age-encryption.org/v1)
// streams, and reads the keys for it: those of age, and those of SSH.
package seal
