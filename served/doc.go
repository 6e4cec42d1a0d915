// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

// Package served tells which resources an API server serves, those of aggregated API servers and of custom resources
// among them, and speaks to it about any of them, in JSON as it is on the wire. What could not be
// found out, because an aggregated API server is away, is told and not passed over.
package served
