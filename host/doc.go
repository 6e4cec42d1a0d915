// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

// Package host is the hand that works on one machine: it runs commands and
// reboots. What is on the other end - this machine's shell, a simulated
// machine of the embedded cluster - is hidden behind Host.
package host
