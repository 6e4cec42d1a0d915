// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"refit.dev/refit/internal/hint"
	"refit.dev/refit/internal/statedir"
)

// Lab is a cluster that Up has made, or is making. Files in its directory:
//
//	record.json    what it was asked to be, and its addresses
//	kubeconfig     the administrator's
//	ssh_config     of the machines, with the id_ed25519 and known_hosts that it names
//	hostkeys/      the machines' SSH keys
//	hidden/        what the store does not show to which machine
//	kubectl        of the version that the cluster was made with
//	pki/           the authority of a cluster from scratch
//	releases/      what one from scratch is upgraded from, see Releases
type Lab struct {
	dir    string
	record record
	engine *engine
}

// record is record.json.
type record struct {
	Options Options `json:"options"`
	// Subnet is the network of the machines, of 256 addresses.
	Subnet netip.Prefix `json:"subnet"`
	// Uses are the things in the cache that its store serves and its kubectl is in.
	Uses []string `json:"uses,omitempty"`
	// Image and Pause are what machines are made of, for those that come later, see Add.
	Image string `json:"image,omitempty"`
	Pause string `json:"pause,omitempty"`
	// Added are the machines that have come, Issued how many ever did; Removed are the names
	// of those of the beginning that are gone, or are going.
	Added   []added  `json:"added,omitempty"`
	Issued  int      `json:"issued,omitempty"`
	Removed []string `json:"removed,omitempty"`
}

// added is a worker that came later.
type added struct {
	Name   string `json:"name"`
	Number int    `json:"number"` // of its address, see Lab.address
}

// Role is what a machine is for.
type Role string

// The roles of machines.
const (
	ControlPlane Role = "control-plane"
	Worker       Role = "worker"
	Balancer     Role = "balancer" // haproxy in front of several control planes
)

// Machine is one machine of a lab.
type Machine struct {
	Name    string // also of its Node
	Role    Role
	Address netip.Addr
}

// ErrNotFound is returned for a lab that does not exist.
var ErrNotFound = errors.New("there is no such lab")

// podSubnet is the network of all pods; each node gets 256 addresses of it, see podsOf.
const podSubnet = "10.244.0.0/16"

func labDir(name string) (string, error) {
	if err := validName(name); err != nil {
		return "", err
	}
	return statedir.Path("labs", "lab-"+name)
}

// read returns the lab of a name without looking whether it runs; the error
// wraps ErrNotFound if there is none.
func read(name string) (*Lab, error) {
	dir, err := labDir(name)
	if err != nil {
		return nil, err
	}
	l := &Lab{dir: dir}
	data, err := os.ReadFile(l.path("record.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, hint.Wrap(fmt.Errorf("lab %s: %w", name, ErrNotFound), "make it with `make lab-up`")
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(data, &l.record); err != nil {
		return nil, hint.Wrap(fmt.Errorf("lab %s: its record is damaged: %w", name, err), "remove the lab with `make lab-down`")
	}
	return l, nil
}

func (l *Lab) write() error {
	data, err := json.MarshalIndent(l.record, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(l.path("record.json"), data, 0o600)
}

// names returns the labs of the state directory, sorted.
func names() ([]string, error) {
	root, err := statedir.Path("labs")
	if err != nil {
		return nil, err
	}
	dirs, err := filepath.Glob(filepath.Join(root, "lab-*"))
	if err != nil {
		return nil, err
	}
	var out []string
	for _, dir := range dirs {
		out = append(out, strings.TrimPrefix(filepath.Base(dir), "lab-"))
	}
	slices.Sort(out)
	return out, nil
}

// Name returns the lab's name.
func (l *Lab) Name() string { return l.record.Options.Name }

// Options returns what the lab was made as.
func (l *Lab) Options() Options { return l.record.Options }

// Kubeconfig returns the path of the administrator's kubeconfig.
func (l *Lab) Kubeconfig() string { return l.path("kubeconfig") }

// SSHConfig returns the path of an ssh_config(5) with a Host for each machine,
// by its name and by its address. The login is admin, who may sudo; root may log
// in with the same key.
func (l *Lab) SSHConfig() string { return l.path("ssh_config") }

// Kubectl returns the path of a kubectl of the lab's first version.
func (l *Lab) Kubectl() string { return l.path("kubectl") }

// The numbers of the first addresses, see Lab.address.
const (
	firstControlPlane = 11
	firstWorker       = 21
)

// Machines returns the lab's machines: control planes, workers, those workers that were
// added, and the balancer if there is one.
func (l *Lab) Machines() []Machine {
	out := l.founders()
	for _, a := range l.record.Added {
		out = append(out, Machine{a.Name, Worker, l.address(a.Number)})
	}
	if l.balanced() {
		out = append(out, Machine{"lb", Balancer, l.address(3)})
	}
	return out
}

// Nodes returns those machines that are nodes of the cluster.
func (l *Lab) Nodes() []Machine {
	return slices.DeleteFunc(l.Machines(), func(m Machine) bool { return m.Role == Balancer })
}

// founders are the nodes that Up has made, but for those that were removed.
func (l *Lab) founders() []Machine {
	return slices.DeleteFunc(l.began(), func(m Machine) bool { return slices.Contains(l.record.Removed, m.Name) })
}

// removed are those founders that are no more, or are being removed, and whose names nobody has taken since.
func (l *Lab) removed() []Machine {
	return slices.DeleteFunc(l.began(), func(m Machine) bool { return !slices.Contains(l.record.Removed, m.Name) || l.isAdded(m.Name) })
}

// began are the nodes that the lab began with.
func (l *Lab) began() []Machine {
	var out []Machine
	for i := range l.record.Options.ControlPlanes {
		out = append(out, Machine{fmt.Sprintf("cp%d", i+1), ControlPlane, l.address(firstControlPlane + i)})
	}
	for i := range l.record.Options.Workers {
		out = append(out, Machine{fmt.Sprintf("w%d", i+1), Worker, l.address(firstWorker + i)})
	}
	return out
}

// nodeAddresses are all that a node of the lab may ever have.
func (l *Lab) nodeAddresses() []netip.Addr {
	var out []netip.Addr
	for i := range maxControlPlanes {
		out = append(out, l.address(firstControlPlane+i))
	}
	for i := range maxWorkers {
		out = append(out, l.address(firstWorker+i))
	}
	return out
}

// StoreURL is where machines find packages and images. Repositories are at
// StoreURL/core:/stable:/vMINOR/deb/.
func (l *Lab) StoreURL() string { return fmt.Sprintf("http://%s", l.storeAddress()) }

func (l *Lab) storeAddress() netip.Addr { return l.address(2) }

func (l *Lab) balanced() bool { return l.record.Options.ControlPlanes > 1 }

// endpoint is where the API is served.
func (l *Lab) endpoint() string {
	if l.balanced() {
		return l.address(3).String() + ":6443"
	}
	return l.address(firstControlPlane).String() + ":6443"
}

// address returns the i-th address of the lab's network.
func (l *Lab) address(i int) netip.Addr {
	a := l.record.Subnet.Addr().As4()
	a[3] = byte(i)
	return netip.AddrFrom4(a)
}

func (l *Lab) path(elem ...string) string {
	return filepath.Join(append([]string{l.dir}, elem...)...)
}

// network is the name of the lab's network, and part of its containers' names.
func (l *Lab) network() string { return "refit-lab-" + l.Name() }

func (l *Lab) container(machine string) string { return l.network() + "-" + machine }

// label marks what belongs to a lab, as docker's filters want it.
func label(name string) string { return "dev.refit.lab=" + name }

// writeFile writes a file aside and renames it, so that it is whole or the old one.
func writeFile(path string, data []byte, mode fs.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-")
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(data); err != nil {
		return err
	}
	if err := f.Chmod(mode); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
