// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
	xknownhosts "golang.org/x/crypto/ssh/knownhosts"

	"refit.dev/refit/host"
	"refit.dev/refit/internal/hint"
)

// ErrHostKey is what every refusal of a host key is: it is not known, not the known
// one, or revoked. Nothing was sent to the machine.
var ErrHostKey = errors.New("the host key is not to be trusted")

// hostKeys checks the key of one host.
type hostKeys struct {
	target Target
	known  *knownhosts.HostKeyDB // nil: no file is there
	// refused is what was wrong with the key that was offered.
	refused error
}

func newHostKeys(t Target) (*hostKeys, error) {
	k := &hostKeys{target: t}
	var files []string
	for _, file := range t.KnownHosts {
		info, err := os.Stat(file)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return nil, fmt.Errorf("read the known hosts: %w", err)
		case info.Mode().IsRegular(): // /dev/null is a way to have none
			files = append(files, file)
		}
	}
	if len(files) == 0 {
		return k, nil
	}
	known, err := knownhosts.NewDB(files...)
	if err != nil {
		return nil, fmt.Errorf("read the known hosts: %w", err)
	}
	k.known = known
	return k, nil
}

// algorithms are those to ask the host for: a key of a kind that is known, where
// one is, because hosts have several.
func (k *hostKeys) algorithms() []string {
	if k.known == nil {
		return nil
	}
	return k.known.HostKeyAlgorithms(k.target.keyName())
}

// check is the callback of the handshake.
func (k *hostKeys) check(_ string, remote net.Addr, key ssh.PublicKey) error {
	err := error(&xknownhosts.KeyError{}) // not known
	if k.known != nil {
		err = k.known.HostKeyCallback()(k.target.keyName(), remote, key)
	}
	if err != nil {
		k.refused = k.explain(err, key)
	}
	return k.refused
}

func (k *hostKeys) explain(err error, key ssh.PublicKey) error {
	t := k.target
	offered := key.Type() + " " + ssh.FingerprintSHA256(key)
	var revoked *xknownhosts.RevokedError
	var mismatch *xknownhosts.KeyError
	file := "~/.ssh/known_hosts"
	if len(t.KnownHosts) > 0 {
		file = t.KnownHosts[0]
	}
	line := knownhosts.Line([]string{t.keyName()}, key)
	compare := "compare that fingerprint with the machine's own, on its console: ssh-keygen -lf /etc/ssh/ssh_host_" + keyKind(key) + "_key.pub; " +
		"if they are the same: "
	add := "echo " + host.Quote(line) + " >> " + host.Quote(file)
	switch {
	case errors.As(err, &revoked):
		return fmt.Errorf("%w: %s offers %s, which is revoked in %s:%d", ErrHostKey, t, offered, revoked.Revoked.Filename, revoked.Revoked.Line)
	case errors.As(err, &mismatch) && len(mismatch.Want) > 0:
		var at []string
		remove := map[string]bool{}
		var commands []string
		for _, want := range mismatch.Want {
			at = append(at, fmt.Sprintf("%s:%d (%s)", want.Filename, want.Line, want.Key.Type()))
			if command := "ssh-keygen -R " + host.Quote(knownhosts.Normalize(t.keyName())) + " -f " + host.Quote(want.Filename); !remove[command] {
				remove[command] = true
				commands = append(commands, command)
			}
		}
		return hint.Wrap(fmt.Errorf("%w: %s offers %s, and another key is known of it: %s", ErrHostKey, t, offered, strings.Join(at, ", ")),
			"somebody may be in between, or the machine was installed anew: %s%s; %s", compare, strings.Join(commands, "; "), add)
	case errors.As(err, &mismatch):
		return hint.Wrap(fmt.Errorf("%w: %s offers %s, which is not known; looked in %s", ErrHostKey, t, offered, strings.Join(t.KnownHosts, ", ")),
			"%s%s", compare, add)
	}
	return fmt.Errorf("%w: %s offers %s: %w", ErrHostKey, t, offered, err)
}

// keyKind is the word for the kind of a key in the names of a server's files.
func keyKind(key ssh.PublicKey) string {
	switch {
	case strings.Contains(key.Type(), "ed25519"):
		return "ed25519"
	case strings.Contains(key.Type(), "ecdsa"):
		return "ecdsa"
	}
	return "rsa"
}
