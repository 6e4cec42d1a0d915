// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package hosttest

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/crypto/ssh"
)

// SSHD is a real OpenSSH server on a loopback port, an ordinary process with keys and
// a configuration of its own, which ends with the test. It lets root in.
type SSHD struct {
	Port int
	Dir  string
	// Key is the file of the private key that it takes, KnownHosts one that knows its
	// host key, Config an ssh_config that says both, and the port, for every host.
	Key, KnownHosts, Config string
	// HostKey is the fingerprint of its key, SHA256:...
	HostKey string
	// Bin is a directory in front of the PATH of commands that are run there.
	Bin string

	mu  sync.Mutex
	log bytes.Buffer
	cmd *exec.Cmd
}

// StartSSHD starts a server; settings are further lines of its configuration. It
// wants root and Debian's openssh-server.
func StartSSHD(t testing.TB, settings ...string) *SSHD {
	t.Helper()
	s := &SSHD{Dir: t.TempDir()}
	s.Key, s.KnownHosts, s.Config = s.path("id_ed25519"), s.path("known_hosts"), s.path("ssh_config")
	s.Bin = s.path("bin")
	must(t, os.Mkdir(s.Bin, 0o755))
	hostKey := newKey(t, s.path("host_key"))
	s.HostKey = ssh.FingerprintSHA256(hostKey)
	user := newKey(t, s.Key)
	must(t, os.WriteFile(s.path("authorized_keys"), ssh.MarshalAuthorizedKey(user), 0o600))
	s.Port = freePort(t)
	known := fmt.Sprintf("[127.0.0.1]:%d %s", s.Port, ssh.MarshalAuthorizedKey(hostKey))
	must(t, os.WriteFile(s.KnownHosts, []byte(known), 0o600))
	must(t, os.WriteFile(s.Config, fmt.Appendf(nil, "Host *\n  Port %d\n  User root\n  IdentityFile %s\n  IdentitiesOnly yes\n  UserKnownHostsFile %s\n", s.Port, s.Key, s.KnownHosts), 0o600))
	lines := append([]string{
		"ListenAddress 127.0.0.1:" + strconv.Itoa(s.Port), "HostKey " + s.path("host_key"), "PidFile none", "UsePAM no", "StrictModes no",
		"AuthorizedKeysFile " + s.path("authorized_keys"), "PermitRootLogin prohibit-password", "PasswordAuthentication no",
		"SetEnv PATH=" + s.Bin + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
	}, settings...)
	must(t, os.WriteFile(s.path("sshd_config"), []byte(strings.Join(lines, "\n")+"\n"), 0o600))
	must(t, os.MkdirAll("/run/sshd", 0o755)) // it insists on that of its package
	s.Start(t)
	t.Cleanup(s.Stop)
	return s
}

func (s *SSHD) path(name string) string { return filepath.Join(s.Dir, name) }

// Start starts the server again after Stop.
func (s *SSHD) Start(t testing.TB) {
	t.Helper()
	s.cmd = exec.CommandContext(t.Context(), "/usr/sbin/sshd", "-D", "-e", "-f", s.path("sshd_config"))
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	s.cmd.Cancel = func() error { return nil } // Stop does
	stderr, err := s.cmd.StderrPipe()
	must(t, err)
	must(t, s.cmd.Start())
	listening := make(chan bool, 1)
	go func() {
		lines := bufio.NewScanner(stderr)
		for lines.Scan() {
			s.mu.Lock()
			s.log.WriteString(lines.Text() + "\n")
			s.mu.Unlock()
			if strings.HasPrefix(lines.Text(), "Server listening on") {
				listening <- true
			}
		}
		close(listening)
	}()
	if !<-listening {
		t.Fatalf("sshd does not start:\n%s", s.Log())
	}
}

// Stop ends the server and every connection to it.
func (s *SSHD) Stop() {
	if s.cmd == nil {
		return
	}
	for _, pid := range append(descendants(s.cmd.Process.Pid), s.cmd.Process.Pid) {
		_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended by itself
	}
	_ = s.cmd.Wait() // it was killed
	s.cmd = nil
}

// Cut ends every connection, in the middle of whatever goes on; the server goes on.
func (s *SSHD) Cut() {
	for _, pid := range children(s.cmd.Process.Pid) {
		_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended by itself
	}
}

// Connections is how many there are.
func (s *SSHD) Connections() int { return len(children(s.cmd.Process.Pid)) }

// Log is what the server has said.
func (s *SSHD) Log() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.String()
}

// descendants are the processes below one: those of its connections, not what was
// run over them, which is in sessions of its own.
func descendants(pid int) []int {
	var all []int
	for _, child := range children(pid) {
		all = append(all, child)
		for _, grandchild := range children(child) {
			if name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", grandchild)); err == nil && strings.TrimSpace(string(name)) == "sshd" {
				all = append(all, grandchild)
			}
		}
	}
	return all
}

func children(pid int) []int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return nil
	}
	var pids []int
	for field := range strings.FieldsSeq(string(text)) {
		if child, err := strconv.Atoi(field); err == nil {
			pids = append(pids, child)
		}
	}
	return pids
}

// newKey writes a new private key to a file and returns its public half.
func newKey(t testing.TB, file string) ssh.PublicKey {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	must(t, err)
	block, err := ssh.MarshalPrivateKey(private, "")
	must(t, err)
	must(t, os.WriteFile(file, pem.EncodeToMemory(block), 0o600))
	key, err := ssh.NewPublicKey(public)
	must(t, err)
	return key
}

func freePort(t testing.TB) int {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
