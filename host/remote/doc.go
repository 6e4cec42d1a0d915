// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

// Package remote reaches machines over SSH, the way the user's own ssh would: by the
// keys of the agent or of files, by the settings of ssh_config, over jump hosts. A
// Network makes a host.Machine of a Target; the machine has one connection, made when
// it is first needed and again when it was lost.
//
// Host keys have to be known beforehand (known_hosts); there is no trust on first
// use. The agent is never forwarded. No password is ever asked for or sent.
package remote
