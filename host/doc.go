// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

// Package host is the hand that works on one machine: it runs commands and reboots. What is
// on the other end - this machine's shell, a simulated machine of the embedded cluster, a
// machine over SSH - is hidden behind Host. A Machine is a Host on which refit also runs
// programs of its own as root, reads and writes files, and starts a Unit, a command that goes
// on by itself when the connection is lost. CheckSame looks whether it is that of a node.
package host
