// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/crypto/ssh"
)

// keys are the SSH keys of a lab. They stay when machines are made anew.
type keys struct {
	login string            // the public key of who logs in, a line of authorized_keys
	host  map[string]string // private keys of the machines
}

// writeKeys makes the keys that are not there yet, and what the operator's ssh
// needs to know of the machines.
func (l *Lab) writeKeys() (keys, error) {
	if err := os.MkdirAll(l.path("hostkeys"), 0o700); err != nil {
		return keys{}, err
	}
	out := keys{host: map[string]string{}}
	_, login, err := keyPair(l.path("id_ed25519"))
	if err != nil {
		return keys{}, err
	}
	out.login = login
	var config, known strings.Builder
	fmt.Fprintf(&config, "# Written by the lab: ssh -F %s cp1\n", l.SSHConfig())
	for _, m := range l.Machines() {
		private, public, err := keyPair(l.path("hostkeys", m.Name))
		if err != nil {
			return keys{}, err
		}
		out.host[m.Name] = private
		fmt.Fprintf(&known, "%s,%s %s", m.Name, m.Address, public)
		fmt.Fprintf(&config, "\nHost %s %s\n  HostName %s\n", m.Name, m.Address, m.Address)
		for _, line := range []string{"User admin", "IdentityFile " + l.path("id_ed25519"), "IdentitiesOnly yes",
			"UserKnownHostsFile " + l.path("known_hosts"), "GlobalKnownHostsFile /dev/null", "StrictHostKeyChecking yes"} {
			fmt.Fprintf(&config, "  %s\n", line)
		}
	}
	if err := writeFile(l.path("known_hosts"), []byte(known.String()), 0o600); err != nil {
		return keys{}, err
	}
	return out, writeFile(l.SSHConfig(), []byte(config.String()), 0o600)
}

// keyPair returns the private key in the file path, made if it is not there, in
// OpenSSH's format, and the public one as a line of authorized_keys.
func keyPair(path string) (private, public string, err error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		_, k, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return "", "", err
		}
		block, err := ssh.MarshalPrivateKey(k, "refit lab")
		if err != nil {
			return "", "", err
		}
		data = pem.EncodeToMemory(block)
		if err := writeFile(path, data, 0o600); err != nil {
			return "", "", err
		}
	} else if err != nil {
		return "", "", err
	}
	signer, err := ssh.ParsePrivateKey(data)
	if err != nil {
		return "", "", fmt.Errorf("%s: %w", path, err)
	}
	return string(data), string(ssh.MarshalAuthorizedKey(signer.PublicKey())), nil
}
