// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"k8s.io/utils/clock"

	"refit.dev/refit/host"
	"refit.dev/refit/internal/hint"
)

// faulty is a server in this process that does to a command what the test says.
type faulty struct {
	t        *testing.T
	listener net.Listener
	key      ssh.Signer
	client   ssh.Signer
	// command is what becomes of commands other than the first of a connection, which
	// looks who it is.
	command func(conn ssh.Conn, channel ssh.Channel)
	all     sync.WaitGroup
}

func newSigner(t *testing.T) (ssh.Signer, []byte) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	return signer, pem.EncodeToMemory(block)
}

func startFaulty(t *testing.T, command func(ssh.Conn, ssh.Channel)) (*faulty, Target) {
	t.Helper()
	f := &faulty{t: t, command: command}
	f.key, _ = newSigner(t)
	var private []byte
	f.client, private = newSigner(t)
	var err error
	if f.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	f.all.Go(f.serve)
	t.Cleanup(func() { f.listener.Close(); f.all.Wait() })
	dir := t.TempDir()
	address := f.listener.Addr().(*net.TCPAddr)
	target := Target{
		Name: "node-01", Host: "127.0.0.1", Port: address.Port, User: "root", Only: true, Identities: []string{filepath.Join(dir, "key")},
		KnownHosts: []string{filepath.Join(dir, "known_hosts")}, Connect: time.Minute, Alive: time.Minute, Missed: 3,
	}
	known := fmt.Sprintf("[127.0.0.1]:%d %s", address.Port, ssh.MarshalAuthorizedKey(f.key.PublicKey()))
	for name, text := range map[string][]byte{"key": private, "known_hosts": []byte(known)} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return f, target
}

func (f *faulty) serve() {
	for {
		stream, err := f.listener.Accept()
		if err != nil {
			return
		}
		f.all.Go(func() { f.connection(stream) })
	}
}

func (f *faulty) connection(stream net.Conn) {
	defer stream.Close()
	config := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if !bytes.Equal(key.Marshal(), f.client.PublicKey().Marshal()) {
			return nil, errors.New("no")
		}
		return nil, nil
	}}
	config.AddHostKey(f.key)
	conn, channels, requests, err := ssh.NewServerConn(stream, config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	first := true
	for opened := range channels {
		channel, requests, err := opened.Accept()
		if err != nil {
			return
		}
		for r := range requests {
			if r.Type != "exec" {
				continue
			}
			if first {
				first = false
				r.Reply(true, nil)
				io.WriteString(channel, "0\n")
				exit(channel, 0)
			} else {
				r.Reply(true, nil)
				f.command(conn, channel)
			}
			channel.Close()
		}
	}
}

func exit(channel ssh.Channel, status uint32) {
	channel.CloseWrite()
	channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{status}))
}

func at(t *testing.T, target Target) host.Machine {
	t.Helper()
	n, err := New(Options{ConfigFile: NoConfig, Home: t.TempDir(), User: "nobody", Clock: clock.RealClock{}})
	if err != nil {
		t.Fatal(err)
	}
	m := n.Machine(target, nil)
	t.Cleanup(func() { m.Close(); n.Close() })
	return m
}

// The machine tells how a command has ended before all of its output is there: what has
// to be whole is waited for, however late it comes.
func TestOutputThatComesLate(t *testing.T) {
	_, target := startFaulty(t, func(_ ssh.Conn, c ssh.Channel) {
		io.WriteString(c, "first ")
		c.SendRequest("exit-status", false, make([]byte, 4))
		<-time.After(outputGrace + time.Second)
		io.WriteString(c, "last")
	})
	m := at(t, target)
	if got, err := m.ReadFile(t.Context(), "/etc/hosts"); err != nil || string(got) != "first last" {
		t.Errorf("read %q, %v", got, err)
	}
	if got, err := m.Exec(t.Context(), []string{"true"}, host.ExecOptions{}); err != nil || string(got.Stdout) != "first last" {
		t.Errorf("got %q, %v", got.Stdout, err)
	}
}

// Wherever the connection is cut, the outcome is known or it is said that it is not.
func TestCutInACommand(t *testing.T) {
	for name, c := range map[string]struct {
		command func(ssh.Conn, ssh.Channel)
		known   bool // the outcome may be known
	}{
		"before any output":        {func(conn ssh.Conn, _ ssh.Channel) { conn.Close() }, false},
		"in the middle of output":  {func(conn ssh.Conn, c ssh.Channel) { io.WriteString(c, "half a l"); conn.Close() }, false},
		"before the exit status":   {func(conn ssh.Conn, c ssh.Channel) { io.WriteString(c, "out\n"); c.CloseWrite(); conn.Close() }, false},
		"closed with no status":    {func(_ ssh.Conn, c ssh.Channel) { io.WriteString(c, "out\n"); c.CloseWrite() }, false},
		"status, and output to go": {func(conn ssh.Conn, c ssh.Channel) { c.SendRequest("exit-status", false, make([]byte, 4)); conn.Close() }, false},
		"after the exit status":    {func(conn ssh.Conn, c ssh.Channel) { io.WriteString(c, "out\n"); exit(c, 0); conn.Close() }, true},
	} {
		t.Run(name, func(t *testing.T) {
			_, target := startFaulty(t, c.command)
			var lines []string
			result, err := at(t, target).Exec(t.Context(), []string{"true"}, host.ExecOptions{Output: func(line string) { lines = append(lines, line) }})
			switch {
			case err == nil && (!c.known || result.Code != 0 || string(result.Stdout) != "out\n"):
				t.Errorf("got %+v and no error", result)
			case err != nil && (errors.Is(err, host.ErrNotStarted) || !host.Temporary(err)):
				t.Errorf("got %v", err)
			}
			for _, line := range lines {
				if line == "half a l" {
					t.Error("half a line was handed out")
				}
			}
		})
	}
}

// A machine that stops answering is found out by nobody but refit itself.
func TestConnectionThatIsDead(t *testing.T) {
	_, target := startFaulty(t, func(_ ssh.Conn, c ssh.Channel) { io.WriteString(c, "up\n"); io.Copy(io.Discard, c) })
	// A relay that can go deaf stands in for a network that does.
	relay, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer relay.Close()
	deaf := make(chan struct{})
	var all sync.WaitGroup
	defer all.Wait()
	real := target.addr()
	all.Go(func() {
		near, err := relay.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", real)
		if err != nil {
			return
		}
		go func() { <-deaf; far.Close() }()
		var ways sync.WaitGroup
		ways.Go(func() { io.Copy(far, near) })
		ways.Go(func() {
			io.Copy(near, far)
			io.Copy(io.Discard, near) // the near end stays open, and hears nothing
		})
		ways.Wait()
	})
	target.HostKeyAs = "known-as"
	text, err := os.ReadFile(target.KnownHosts[0])
	if err != nil {
		t.Fatal(err)
	}
	_, key, _ := strings.Cut(string(text), " ")
	if err := os.WriteFile(target.KnownHosts[0], []byte("known-as "+key), 0o600); err != nil {
		t.Fatal(err)
	}
	target.Port, target.Alive, target.Missed = relay.Addr().(*net.TCPAddr).Port, 50*time.Millisecond, 2
	var once sync.Once
	_, err = at(t, target).Exec(t.Context(), []string{"true"}, host.ExecOptions{Output: func(string) { once.Do(func() { close(deaf) }) }})
	if err == nil || errors.Is(err, host.ErrNotStarted) || !host.Temporary(err) || !strings.Contains(err.Error(), "no answer for") {
		t.Errorf("got %v", err)
	}
}

// Every wait ends with its context.
func TestContextEndsEveryWait(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // it takes connections and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	reached := make(chan struct{}, 1)
	_, hanging := startFaulty(t, func(_ ssh.Conn, c ssh.Channel) { reached <- struct{}{}; io.Copy(io.Discard, c) })
	handshake := hanging
	handshake.Port = silent.Addr().(*net.TCPAddr).Port
	go func() {
		if c, err := silent.Accept(); err == nil {
			reached <- struct{}{}
			io.Copy(io.Discard, c)
			c.Close()
		}
	}()
	for name, c := range map[string]struct {
		target  Target
		started bool
	}{"handshake": {handshake, false}, "command": {hanging, true}} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			enough := errors.New("enough")
			go func() { <-reached; cancel(enough) }()
			_, err := at(t, c.target).Exec(ctx, []string{"true"}, host.ExecOptions{})
			if !errors.Is(err, enough) || errors.Is(err, host.ErrNotStarted) == c.started {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestHandshakeThatHangs(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	_, target := startFaulty(t, nil)
	target.Port, target.Connect = silent.Addr().(*net.TCPAddr).Port, 100*time.Millisecond
	_, err = at(t, target).Exec(t.Context(), []string{"true"}, host.ExecOptions{})
	if !errors.Is(err, host.ErrNotStarted) || !host.Temporary(err) || !strings.Contains(err.Error(), "no answer within 100ms") {
		t.Errorf("got %v", err)
	}
}

func TestHostKeys(t *testing.T) {
	f, target := startFaulty(t, nil)
	other, _ := newSigner(t)
	fingerprint := ssh.FingerprintSHA256(f.key.PublicKey())
	for name, c := range map[string]struct{ known, want, do string }{
		"unknown": {"", "which is not known", "echo "},
		"changed": {fmt.Sprintf("[127.0.0.1]:%d %s", target.Port, ssh.MarshalAuthorizedKey(other.PublicKey())), "another key is known of it", "ssh-keygen -R "},
		"revoked": {fmt.Sprintf("@revoked * %s", ssh.MarshalAuthorizedKey(f.key.PublicKey())), "revoked", ""},
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(target.KnownHosts[0], []byte(c.known), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := at(t, target).Exec(t.Context(), []string{"true"}, host.ExecOptions{})
			if !errors.Is(err, ErrHostKey) || !errors.Is(err, host.ErrNotStarted) || host.Temporary(err) {
				t.Fatalf("got %v", err)
			}
			for _, part := range []string{c.want, fingerprint, target.KnownHosts[0]} {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%v does not say %s", err, part)
				}
			}
			if !strings.Contains(hint.Of(err), c.do) {
				t.Errorf("hint %q", hint.Of(err))
			}
		})
	}
	if err := os.Remove(target.KnownHosts[0]); err != nil {
		t.Fatal(err)
	}
	if _, err := at(t, target).Exec(t.Context(), []string{"true"}, host.ExecOptions{}); !errors.Is(err, ErrHostKey) {
		t.Errorf("no file: got %v", err)
	}
}

func TestKeyIsRefused(t *testing.T) {
	_, target := startFaulty(t, nil)
	_, other := newSigner(t)
	if err := os.WriteFile(target.Identities[0], other, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := at(t, target).Exec(t.Context(), []string{"true"}, host.ExecOptions{})
	if !errors.Is(err, ErrLogin) || !errors.Is(err, host.ErrNotStarted) || host.Temporary(err) || !strings.Contains(err.Error(), "offered were ssh-ed25519 SHA256:") {
		t.Errorf("got %v", err)
	}
}
