// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Address is what is known of the way to a machine before the configuration of ssh
// is asked. What is empty is taken from there.
type Address struct {
	// Name is the node's. The configuration is looked up under it, and then under Host.
	Name string
	// Host is a name or an IP address. Exact says that it was chosen for this machine
	// by a person: a HostName that the configuration has for Name does not replace it.
	Host  string
	Exact bool
	User  string
	Port  int
	// IdentityFile is the path of a key; no other key is offered then.
	IdentityFile string
	// ProxyJump is as in ssh_config: [user@]host[:port], several parted by commas; "none" is none.
	ProxyJump string
	// Sudo says whether commands are run by sudo; nil: unless the login is root.
	Sudo *bool
}

// Target is where a machine is and how to log in to it.
type Target struct {
	Name string
	Host string
	Port int
	User string
	Sudo bool
	// Identities are the files of the keys to offer, Only says that no others may be.
	Identities []string
	Only       bool
	Agent      string // socket; "" is none
	KnownHosts []string
	HostKeyAs  string // name under which the host key is known; "" is the host itself
	// Connect is how long a connection and the login may take; every Alive the machine
	// has to answer, and is lost after Missed times that it did not.
	Connect time.Duration
	Alive   time.Duration
	Missed  int
	// Jumps are the hosts on the way, the first one first.
	Jumps []Target
}

// What holds if neither the user nor the configuration says anything. OpenSSH has no
// limits of its own; refit has to notice when a machine is gone.
const (
	defaultConnect = 30 * time.Second
	defaultAlive   = 15 * time.Second
	defaultMissed  = 3
	maxJumps       = 8
)

func (t Target) addr() string { return net.JoinHostPort(t.Host, strconv.Itoa(t.Port)) }

// Place says where the machine is, and by which way: two machines are not in one place.
func (t Target) Place() string {
	var place []string
	for _, jump := range t.Jumps {
		place = append(place, jump.addr())
	}
	return strings.Join(append(place, t.addr()), " ")
}

// String names the machine in messages: only printable characters come out of it.
func (t Target) String() string {
	return fmt.Sprintf("%s (%s@%s)", strings.Trim(strconv.Quote(t.Name), `"`), t.User, t.addr())
}

// keyName is the name under which known_hosts has the host's key.
func (t Target) keyName() string {
	if t.HostKeyAs != "" {
		return net.JoinHostPort(t.HostKeyAs, "22")
	}
	return t.addr()
}

// Target finds out where the machine is and how to log in to it. It asks nobody.
func (n *Network) Target(a Address) (Target, error) {
	t, err := n.target(a, maxJumps)
	if err != nil {
		return Target{}, fmt.Errorf("%q: %w", a.Name, err)
	}
	return t, nil
}

func (n *Network) target(a Address, jumps int) (Target, error) {
	s, names := n.settings, lookupNames(a)
	for _, name := range names {
		if err := checkHost(name); err != nil {
			return Target{}, err
		}
	}
	t := Target{Name: a.Name, Host: a.Host, Port: a.Port, User: a.User, Connect: defaultConnect, Alive: defaultAlive, Missed: defaultMissed}
	var err error
	get := func(key string) string {
		value, failed := s.get(names, key)
		if err == nil {
			err = failed
		}
		return value
	}
	asked := names
	if a.Exact {
		asked = []string{a.Host}
	}
	for _, name := range asked {
		host, failed := s.get([]string{name}, "HostName")
		if failed != nil {
			return Target{}, failed
		}
		if host != "" {
			t.Host = strings.ReplaceAll(strings.ReplaceAll(host, "%h", name), "%%", "%")
			break
		}
	}
	if t.User == "" {
		t.User = get("User")
	}
	if t.User == "" {
		t.User = n.options.User
	}
	if port := get("Port"); t.Port == 0 && port != "" {
		if t.Port, err = strconv.Atoi(port); err != nil {
			return Target{}, fmt.Errorf("the configuration of ssh: Port %q: want a number", port)
		}
	}
	if t.Port == 0 {
		t.Port = 22
	}
	t.HostKeyAs = get("HostKeyAlias")
	if missed := get("ServerAliveCountMax"); missed != "" {
		if t.Missed, err = strconv.Atoi(missed); err != nil || t.Missed < 1 {
			return Target{}, fmt.Errorf("the configuration of ssh: ServerAliveCountMax %q: want a number of 1 or more", missed)
		}
	}
	if err != nil {
		return Target{}, err
	}
	if t.Connect, err = s.seconds(names, "ConnectTimeout", defaultConnect); err != nil {
		return Target{}, err
	}
	if t.Alive, err = s.seconds(names, "ServerAliveInterval", defaultAlive); err != nil {
		return Target{}, err
	}
	t.Sudo = t.User != "root"
	if a.Sudo != nil {
		t.Sudo = *a.Sudo
	}
	if err := t.check(); err != nil {
		return Target{}, err
	}
	if err := n.keys(&t, a, names); err != nil {
		return Target{}, err
	}
	t.Jumps, err = n.jumps(a, names, jumps)
	return t, err
}

// lookupNames are the names under which the configuration is asked.
func lookupNames(a Address) []string {
	if a.Name == a.Host || a.Name == "" {
		return []string{a.Host}
	}
	return []string{a.Name, a.Host}
}

func (t Target) check() error {
	if err := checkHost(t.Host); err != nil {
		return err
	}
	if t.HostKeyAs != "" {
		if err := checkHost(t.HostKeyAs); err != nil {
			return fmt.Errorf("HostKeyAlias: %w", err)
		}
	}
	if t.Port < 1 || t.Port > 65535 {
		return fmt.Errorf("port %d: want 1 to 65535", t.Port)
	}
	if t.User == "" || strings.HasPrefix(t.User, "-") || strings.ContainsFunc(t.User, strange) {
		return fmt.Errorf("%q is no name of a user", t.User)
	}
	return nil
}

// checkHost refuses what is no name of a host and no address: it would end up in
// known_hosts, in messages, or be taken for an option by who copies it from there.
func checkHost(name string) error {
	if name == "" || len(name) > 255 || strings.HasPrefix(name, "-") || strings.ContainsFunc(name, strange) || strings.ContainsAny(name, `/\"'*?,!@[]#|$&;<>(){}`+"`") {
		return fmt.Errorf("%q is no name of a host", name)
	}
	return nil
}

func strange(r rune) bool {
	return unicode.IsSpace(r) || !unicode.IsPrint(r) || r == unicode.ReplacementChar
}

// keys finds the files that say who the user and who the host is.
func (n *Network) keys(t *Target, a Address, names []string) error {
	s := n.settings
	files, err := s.all(names, "IdentityFile")
	if err != nil {
		return err
	}
	if t.Only, err = s.yes(names, "IdentitiesOnly"); err != nil {
		return err
	}
	if a.IdentityFile != "" {
		files, t.Only, t.Identities = nil, true, []string{a.IdentityFile}
	}
	for _, file := range files {
		if strings.EqualFold(file, "none") {
			continue
		}
		path, err := s.path(file, t.Host, t.User)
		if err != nil {
			return err
		}
		if !slices.Contains(t.Identities, path) { // said for the name and for the address
			t.Identities = append(t.Identities, path)
		}
	}
	agent, err := s.get(names, "IdentityAgent")
	if err != nil {
		return err
	}
	switch agent {
	case "", "SSH_AUTH_SOCK":
		t.Agent = n.options.Agent
	case "none":
	default:
		if t.Agent, err = s.path(agent, t.Host, t.User); err != nil {
			return err
		}
	}
	for _, known := range []struct{ key, otherwise string }{
		{"UserKnownHostsFile", "~/.ssh/known_hosts ~/.ssh/known_hosts2"},
		{"GlobalKnownHostsFile", "/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2"},
	} {
		value, err := s.get(names, known.key)
		if err != nil {
			return err
		}
		if value == "" {
			value = known.otherwise
		}
		for file := range strings.FieldsSeq(value) {
			if file == "none" {
				continue
			}
			path, err := s.path(file, t.Host, t.User)
			if err != nil {
				return err
			}
			t.KnownHosts = append(t.KnownHosts, path)
		}
	}
	return nil
}

// jumps resolves the hosts on the way.
func (n *Network) jumps(a Address, names []string, left int) ([]Target, error) {
	jump := a.ProxyJump
	if jump == "" {
		var err error
		if jump, err = n.settings.get(names, "ProxyJump"); err != nil {
			return nil, err
		}
		command, err := n.settings.get(names, "ProxyCommand")
		if err != nil {
			return nil, err
		}
		if jump == "" && command != "" && command != "none" {
			return nil, fmt.Errorf("the configuration of ssh has a ProxyCommand for it, which refit does not run: give it a ProxyJump")
		}
	}
	if jump == "" || jump == "none" {
		return nil, nil
	}
	var all []Target
	for i, hop := range strings.Split(jump, ",") {
		address, err := parseJump(strings.TrimSpace(hop))
		if err != nil {
			return nil, err
		}
		if i > 0 {
			address.ProxyJump = "none" // it is reached over the one before
		}
		if left == 0 {
			return nil, fmt.Errorf("more than %d jump hosts, or jump hosts in a circle", maxJumps)
		}
		// A jump host only passes on: nothing is run there, and nobody has to be root.
		no := false
		address.Sudo = &no
		target, err := n.target(address, left-1)
		if err != nil {
			return nil, fmt.Errorf("jump host %q: %w", hop, err)
		}
		all = append(append(all, target.Jumps...), target)
		all[len(all)-1].Jumps = nil
	}
	if len(all) > maxJumps {
		return nil, fmt.Errorf("more than %d jump hosts", maxJumps)
	}
	return all, nil
}

// parseJump reads [user@]host[:port], also as ssh://[user@]host[:port].
func parseJump(hop string) (Address, error) {
	rest := strings.TrimSuffix(strings.TrimPrefix(hop, "ssh://"), "/")
	var a Address
	if at := strings.LastIndex(rest, "@"); at >= 0 {
		a.User, rest = rest[:at], rest[at+1:]
	}
	a.Host = rest
	if host, port, err := net.SplitHostPort(rest); err == nil {
		number, err := strconv.Atoi(port)
		if err != nil || number < 1 || number > 65535 {
			return Address{}, fmt.Errorf("jump host %q: the port is no number from 1 to 65535", hop)
		}
		a.Host, a.Port = host, number
	}
	a.Host = strings.Trim(a.Host, "[]")
	a.Name = a.Host
	if err := checkHost(a.Host); err != nil {
		return Address{}, fmt.Errorf("jump host %q: %w", hop, err)
	}
	return a, nil
}

// defaultIdentities are the files that OpenSSH tries where none is configured.
func defaultIdentities(home string) []string {
	var files []string
	for _, name := range []string{"id_rsa", "id_ecdsa", "id_ed25519"} {
		files = append(files, filepath.Join(home, ".ssh", name))
	}
	return files
}
