// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
)

// Machine is a Host on which refit may do more than run one shell command for its
// operator: it runs programs of its own choice there, and reads and writes files.
// Everything is done as root. A Machine is safe for use by several goroutines.
type Machine interface {
	Host

	// Exec runs argv as root (by sudo where the login is not root), no shell: each
	// element arrives as it is. The error is nil whenever the command ran to its end,
	// also with a status other than 0. An error that is ErrNotStarted says that the
	// command did certainly not start; with any other error its outcome is unknown:
	// it may not have run, may run still, or may have ended. Look again.
	//
	// When ctx ends, Exec returns; the command may go on. What takes long and must
	// neither be lost nor run twice belongs into a Unit.
	Exec(ctx context.Context, argv []string, opts ExecOptions) (Result, error)

	// ReadFile returns the content of the file at path, an absolute path; the error is
	// fs.ErrNotExist when there is none. Files of more than MaxFile bytes are an error.
	ReadFile(ctx context.Context, path string) ([]byte, error)

	// WriteFile puts data at path, an absolute path, with mode, owned by root: the
	// content is written aside, synced, and renamed, so that a reader sees the old
	// content or the new one. The directory has to be there. A link at path is
	// replaced, not followed. After an error either may be there.
	WriteFile(ctx context.Context, path string, data []byte, mode fs.FileMode) error

	// BootID returns the ID that the kernel gave its present boot, as the Node's
	// status.nodeInfo.bootID has it (/proc/sys/kernel/random/boot_id).
	BootID(ctx context.Context) (string, error)

	// Dial opens a TCP connection from the machine to address, "host:port": what listens
	// on its loopback can be reached, and Services as its own programs reach them. It is
	// ErrNoForwarding if the machine's SSH server does not allow that to anybody.
	Dial(ctx context.Context, address string) (net.Conn, error)

	// Close gives up what the Machine holds. Nothing may be asked of it afterwards.
	Close() error
}

// ExecOptions is what a command is given besides its arguments.
type ExecOptions struct {
	// Stdin is what the command reads; nil is an empty input.
	Stdin io.Reader
	// Output gets the lines of stdout and stderr while they are written, in the order
	// in which they arrive; lines of more than 4096 bytes are cut. It may be nil.
	Output Output
	// Env is added to the command's environment, "NAME=value" each. The environment
	// is otherwise always the same: PATH has the directories of a Debian root login,
	// LC_ALL is C, so that messages are the ones that a program may look for.
	Env []string
}

// Result is what a command left that ran to its end.
type Result struct {
	// Code is the exit status; -1 if a signal ended the command.
	Code int
	// Stdout and Stderr are what it wrote, at most MaxOutput bytes of each: of more,
	// the tail is kept.
	Stdout, Stderr []byte
	// Cut is how many bytes were left out of Stdout and Stderr together. Who reads a
	// list out of Stdout has to look whether it is whole.
	Cut int64
}

const (
	// MaxOutput is how many bytes of each of a command's streams Result holds.
	MaxOutput = 1 << 20
	// MaxFile is the size in bytes of the largest file that ReadFile reads.
	MaxFile = 16 << 20
)

// ErrNotStarted says of a command that it did certainly not start: nothing was
// changed by it, and it may be tried again.
var ErrNotStarted = errors.New("the command was not started")

// ErrNoForwarding says that connections cannot be opened from a machine: its SSH server
// is told not to (sshd_config(5), AllowTcpForwarding, DisableForwarding, PermitOpen).
var ErrNoForwarding = errors.New("the machine's SSH server does not forward connections")
