// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package hosttest

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"net"
	"slices"
	"sync"
	"syscall"
	"testing"

	"refit.dev/refit/host"
)

// ErrLost is what a Machine answers when its connection broke after a command was
// sent: the outcome is unknown.
var ErrLost error = away("the connection was lost")

// away is an error of which host.Temporary says that it may go away by itself.
type away string

func (a away) Error() string { return string(a) }

// OutOfReach says that the machine may be reached later.
func (away) OutOfReach() bool { return true }

// Machine is a host.Machine that follows a script. Commands are expected in the
// order of the Expect calls; what is expected and does not come, and what comes and
// is not expected, fails the test.
type Machine struct {
	t        testing.TB
	name     string
	mu       sync.Mutex
	expected []*Call
	always   []*Call
	files    map[string]File
	boots    int
	reboots  map[string]bool
	offline  bool
	closed   bool
	log      []string
	dial     func(ctx context.Context, address string) (net.Conn, error)
}

// File is a file of a Machine.
type File struct {
	Data []byte
	Mode fs.FileMode
}

var _ host.Machine = (*Machine)(nil)

// New returns a machine of the given name (for the test's messages) without files
// that expects nothing. When the test ends everything expected has to have come.
func New(t testing.TB, name string) *Machine {
	m := &Machine{t: t, name: name, files: map[string]File{}, reboots: map[string]bool{}, boots: 1}
	t.Cleanup(func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		for _, c := range m.expected {
			t.Errorf("%s: the command %s was expected and did not come", name, c.what)
		}
	})
	return m
}

// Expect adds the command argv to what is expected. It is answered with status 0
// and no output, unless the Call says otherwise.
func (m *Machine) Expect(argv ...string) *Call {
	return m.add(&m.expected, fmt.Sprintf("%q", argv), exactly(argv))
}

// ExpectFunc expects a command that match likes; what names it in messages.
func (m *Machine) ExpectFunc(what string, match func(argv []string) bool) *Call {
	return m.add(&m.expected, what, match)
}

// ExpectShell expects a call of Run with command.
func (m *Machine) ExpectShell(command string) *Call {
	return m.Expect("sh", "-c", command)
}

// Always answers argv whenever it comes, also never, out of the order of what is
// expected. What is expected goes first.
func (m *Machine) Always(argv ...string) *Call {
	return m.add(&m.always, fmt.Sprintf("%q", argv), exactly(argv))
}

// AlwaysFunc answers every command that match likes, as Always does.
func (m *Machine) AlwaysFunc(what string, match func(argv []string) bool) *Call {
	return m.add(&m.always, what, match)
}

func exactly(want []string) func([]string) bool {
	return func(argv []string) bool { return slices.Equal(argv, want) }
}

func (m *Machine) add(list *[]*Call, what string, match func([]string) bool) *Call {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := &Call{what: what, match: match}
	*list = append(*list, c)
	return c
}

// SetFile puts a file on the machine.
func (m *Machine) SetFile(path, data string, mode fs.FileMode) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.files[path] = File{Data: []byte(data), Mode: mode}
}

// RemoveFile takes a file from the machine.
func (m *Machine) RemoveFile(path string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.files, path)
}

// File returns a file of the machine, and whether it is there.
func (m *Machine) File(path string) (File, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f, ok := m.files[path]
	return f, ok
}

// Offline takes the machine out of reach: nothing asked of it is started, until
// Online. What is expected stays expected.
func (m *Machine) Offline() { m.reach(true) }

// Online ends Offline.
func (m *Machine) Online() { m.reach(false) }

func (m *Machine) reach(offline bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.offline = offline
}

// Log returns the commands that came, in their order, quoted for a shell.
func (m *Machine) Log() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.log)
}

// Closed tells whether the machine was closed.
func (m *Machine) Closed() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.closed
}

// reachable is an error that is host.ErrNotStarted, if the machine cannot be reached.
func (m *Machine) reachable(ctx context.Context) error {
	if err := context.Cause(ctx); err != nil {
		return fmt.Errorf("%w: %w", host.ErrNotStarted, err)
	}
	if m.offline {
		return fmt.Errorf("%w: %w", host.ErrNotStarted, away(m.name+" is out of reach"))
	}
	if m.closed {
		m.t.Errorf("%s: used after Close", m.name)
		return fmt.Errorf("%s is closed: %w", m.name, host.ErrNotStarted)
	}
	return nil
}

// Exec answers as the script says.
func (m *Machine) Exec(ctx context.Context, argv []string, opts host.ExecOptions) (host.Result, error) {
	var stdin []byte
	if opts.Stdin != nil {
		var err error
		if stdin, err = io.ReadAll(opts.Stdin); err != nil {
			return host.Result{}, fmt.Errorf("%w: read the command's input: %w", host.ErrNotStarted, err)
		}
	}
	c, err := m.next(ctx, argv)
	if err != nil {
		return host.Result{}, err
	}
	return c.answer(ctx, argv, string(stdin), opts)
}

// next takes the call that answers argv off the script.
func (m *Machine) next(ctx context.Context, argv []string) (*Call, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.reachable(ctx); err != nil {
		return nil, err
	}
	m.log = append(m.log, host.Quote(argv...))
	if len(m.expected) > 0 && m.expected[0].match(argv) {
		c := m.expected[0]
		m.expected = m.expected[1:]
		return c, nil
	}
	for _, c := range m.always {
		if c.match(argv) {
			return c, nil
		}
	}
	want := "nothing more"
	if len(m.expected) > 0 {
		want = m.expected[0].what
	}
	m.t.Errorf("%s: got the command %q, expected was %s", m.name, argv, want)
	return nil, fmt.Errorf("%s: not expected: %q: %w", m.name, argv, host.ErrNotStarted)
}

// Run answers a command that was expected by ExpectShell.
func (m *Machine) Run(ctx context.Context, command string, out host.Output) error {
	result, err := m.Exec(ctx, []string{"sh", "-c", command}, host.ExecOptions{Output: out})
	if err == nil && result.Code != 0 {
		return &host.ExitError{Code: result.Code}
	}
	return err
}

// ReadFile reads a file out of memory.
func (m *Machine) ReadFile(ctx context.Context, path string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.reachable(ctx); err != nil {
		return nil, err
	}
	f, ok := m.files[path]
	if !ok {
		return nil, &fs.PathError{Op: "read", Path: path, Err: fs.ErrNotExist}
	}
	return slices.Clone(f.Data), nil
}

// WriteFile writes a file into memory.
func (m *Machine) WriteFile(ctx context.Context, path string, data []byte, mode fs.FileMode) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.reachable(ctx); err != nil {
		return err
	}
	m.files[path] = File{Data: slices.Clone(data), Mode: mode}
	return nil
}

// BootID is "boot-1" at first and counts up with each Reboot.
func (m *Machine) BootID(ctx context.Context) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.reachable(ctx); err != nil {
		return "", err
	}
	return fmt.Sprintf("boot-%d", m.boots), nil
}

// Reboot reboots at once, and only once for each id.
func (m *Machine) Reboot(ctx context.Context, id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.reachable(ctx); err != nil {
		return err
	}
	if !m.reboots[id] {
		m.reboots[id] = true
		m.boots++
	}
	return nil
}

// Reboots returns how often the machine was rebooted.
func (m *Machine) Reboots() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.boots - 1
}

// SetDial lets dial make the connections that are opened from the machine. Without it
// nothing listens anywhere.
func (m *Machine) SetDial(dial func(ctx context.Context, address string) (net.Conn, error)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dial = dial
}

// Dial connects as SetDial says.
func (m *Machine) Dial(ctx context.Context, address string) (net.Conn, error) {
	m.mu.Lock()
	dial, err := m.dial, m.reachable(ctx)
	m.mu.Unlock()
	switch {
	case err != nil:
		return nil, err
	case dial == nil:
		return nil, fmt.Errorf("connect to %s: %w", address, syscall.ECONNREFUSED)
	}
	return dial(ctx, address)
}

// Close marks the machine as closed.
func (m *Machine) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	return nil
}
