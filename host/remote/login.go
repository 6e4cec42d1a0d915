// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// maxKeyFile is how many bytes of a key file are read.
const maxKeyFile = 64 << 10

// login collects the keys to offer to one host, and remembers what could not be.
type login struct {
	target Target
	home   string
	agent  net.Conn // nil: none
	notes  []string
}

// signers are the keys in the order in which they are offered: those that were asked
// for by name first, because a server closes the connection after a few tries.
func (l *login) signers() []ssh.Signer {
	held := l.held()
	files, asked := l.target.Identities, true
	if len(files) == 0 {
		files, asked = defaultIdentities(l.home), false
	}
	var first, rest []ssh.Signer
	used := map[string]bool{}
	add := func(list *[]ssh.Signer, s ssh.Signer) {
		if blob := string(s.PublicKey().Marshal()); !used[blob] {
			used[blob] = true
			*list = append(*list, s)
		}
	}
	for _, file := range files {
		signer := l.fromFile(file, held, asked)
		if signer != nil {
			add(&first, signer)
		}
	}
	if !l.target.Only {
		for _, s := range held {
			add(&rest, s)
		}
	}
	if !asked { // nobody named the default files: the agent's keys are meant before them
		first, rest = rest, first
	}
	return append(first, rest...)
}

// held are the agent's keys.
func (l *login) held() []ssh.Signer {
	if l.target.Agent == "" || l.agent == nil {
		return nil
	}
	signers, err := agent.NewClient(l.agent).Signers()
	if err != nil {
		l.note("the agent at %s does not tell its keys: %v", l.target.Agent, err)
	}
	return signers
}

// fromFile returns the key of a file, by way of the agent if that has it; nil if it
// cannot be had. asked says that the file was named by somebody.
func (l *login) fromFile(file string, held []ssh.Signer, asked bool) ssh.Signer {
	text, err := readKey(file)
	if errors.Is(err, fs.ErrNotExist) {
		public, failed := readKey(file + ".pub") // the key itself may be with the agent alone
		if failed != nil {
			if asked {
				l.note("%s is not there", file)
			}
			return nil
		}
		text, err = public, nil
	}
	if err != nil {
		l.note("%v", err)
		return nil
	}
	if public, _, _, _, failed := ssh.ParseAuthorizedKey(text); failed == nil {
		return l.fromAgent(public, held, file)
	}
	signer, err := ssh.ParsePrivateKey(text)
	var locked *ssh.PassphraseMissingError
	switch {
	case err == nil:
		return signer
	case errors.As(err, &locked):
		if locked.PublicKey == nil { // an old format, which does not tell
			if text, err := readKey(file + ".pub"); err == nil {
				locked.PublicKey, _, _, _, _ = ssh.ParseAuthorizedKey(text)
			}
		}
		if locked.PublicKey != nil {
			for _, s := range held {
				if bytes.Equal(s.PublicKey().Marshal(), locked.PublicKey.Marshal()) {
					return s
				}
			}
		}
		l.note("%s is encrypted, and refit asks for no passphrases: ssh-add it to an agent", file)
	default:
		l.note("%s holds no key that can be used: %v", file, err)
	}
	return nil
}

func (l *login) fromAgent(public ssh.PublicKey, held []ssh.Signer, file string) ssh.Signer {
	for _, s := range held {
		if bytes.Equal(s.PublicKey().Marshal(), public.Marshal()) {
			return s
		}
	}
	l.note("%s is only the public key, and the agent does not have the other half", file)
	return nil
}

func (l *login) note(format string, args ...any) {
	l.notes = append(l.notes, fmt.Sprintf(format, args...))
}

// tried says in words which keys were offered, and why others were not.
func (l *login) tried(signers []ssh.Signer) string {
	var words []string
	for _, s := range signers {
		words = append(words, s.PublicKey().Type()+" "+ssh.FingerprintSHA256(s.PublicKey()))
	}
	text := "no key was there to be offered"
	if len(words) > 0 {
		text = "offered were " + strings.Join(words, ", ")
	}
	if l.target.Agent == "" {
		l.note("there is no agent (SSH_AUTH_SOCK is not set)")
	}
	if len(l.notes) > 0 {
		text += "; " + strings.Join(l.notes, "; ")
	}
	return text
}

func readKey(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxKeyFile))
}
