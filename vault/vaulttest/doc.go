// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

// Package vaulttest gives tests servers of their own for what backup sets are kept in: a real S3
// server, versitygw, with ways to break what goes to it, and fake-gcs-server for Google's.
//
// They run as processes: versitygw changes its working directory, and there can be one in a process
// only. Their modules are ./gateway and ./gcs; bin/versitygw and bin/fake-gcs-server are built from
// them if they are not there.
package vaulttest
