// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

// Package provider is about who makes and removes the machines of a cluster: a cloud, a
// hypervisor, or whatever an operator has.
//
// A Provider creates, deletes and lists machines. Each machine that is asked for has a key
// that the asker chose and wrote down before; asking twice under one key is asking once, so
// that what a killed process has begun can be found again by a List. Only what a List says
// is believed: an answer to a Create or a Delete is an announcement.
//
// Exec is the Provider of an operator's commands: JSON on their standard input, JSON on their
// standard output, read strictly, within bounds of time and size. Config is the file that names
// them. This package knows nothing of Nodes but their names.
package provider
