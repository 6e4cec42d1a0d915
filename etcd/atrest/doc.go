// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

// Package atrest reads what an API server has encrypted before it gave it to etcd, with the
// keys of its EncryptionConfiguration: providers aescbc, aesgcm and secretbox. What
// a key management service (kms) has encrypted cannot be read without that service.
//
// The formats are those of k8s.io/apiserver/pkg/server/options/encryptionconfig and
// k8s.io/apiserver/pkg/storage/value/encrypt.
package atrest
