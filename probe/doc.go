// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

// Package probe measures for how long something does not answer.
//
// Watch asks again and again, and tells of each outage when it begins and when it is
// over. What is asked, and what counts as an answer, is the caller's to say; Service is
// one who asks a Service of a cluster.
package probe
