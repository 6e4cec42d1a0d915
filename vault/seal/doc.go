// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

// Package seal encrypts (age, https://age-encryption.org/v1) to people who have a key pair, of age or of
// SSH, and reads those keys. Streams are compressed as well (zstd, RFC 8878); small texts, such as the
// Secrets of an export, become the armour of age, which is text itself.
//
// Errors never hold anything of a private key, nor of a line that could be one.
package seal
