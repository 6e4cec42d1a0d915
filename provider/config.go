// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package provider

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// What a configuration says it is.
const (
	configVersion = "refit.dev/v1alpha1"
	configKind    = "Provider"
)

// configLimit is how many bytes of a configuration are read.
const configLimit = 1 << 20

// Config names an operator's commands. It has no secrets: commands find those where they
// always do.
type Config struct {
	Create Command `json:"create"`
	Delete Command `json:"delete"`
	List   Command `json:"list"`
	// Upgrade raises the version of a control plane that somebody else runs; nil if there is none.
	Upgrade *Command `json:"upgrade,omitempty"`
	// Join is who brings a machine into the cluster.
	Join Joining `json:"join"`
}

// Command is a program with its arguments; no shell reads them.
type Command struct {
	// Argv begins with a name that is looked up in PATH, or with an absolute path.
	Argv []string `json:"command"`
	// Seconds is how long it may take.
	Seconds float64 `json:"seconds"`
}

// Joining is how a machine gets into the cluster.
type Joining string

const (
	// JoinKubeadm: a short-lived bootstrap token is handed over with each order.
	JoinKubeadm Joining = "kubeadm"
	// JoinOwn: the provider sees to it.
	JoinOwn Joining = "own"
)

// How long a command may take if the file does not say. A cloud takes a minute or two for a
// machine; the rest is for those that are slow.
const (
	createTime = 10 * time.Minute
	deleteTime = 10 * time.Minute
	listTime   = time.Minute
	// upgradeTime is for all of it: the command, and whatever it has begun. Providers name half an hour, and more for
	// control planes of several zones.
	upgradeTime = time.Hour
)

// LoadConfig reads the configuration in a file. A command with a slash in its name that is
// not absolute starts at the directory of the file.
func LoadConfig(path string) (*Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the provider: %w", err)
	}
	defer f.Close()
	c, err := ReadConfig(f)
	if err != nil {
		return nil, fmt.Errorf("provider %s: %w", path, err)
	}
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("provider %s: %w", path, err)
	}
	for _, command := range []*Command{&c.Create, &c.Delete, &c.List, c.Upgrade} {
		if command == nil {
			continue
		}
		if name := command.Argv[0]; strings.Contains(name, "/") && !filepath.IsAbs(name) {
			command.Argv[0] = filepath.Join(dir, name)
		}
	}
	return c, nil
}

// ReadConfig reads a configuration, in YAML or JSON, strictly.
func ReadConfig(r io.Reader) (*Config, error) {
	text, err := io.ReadAll(io.LimitReader(r, configLimit+1))
	if err != nil {
		return nil, err
	}
	if len(text) > configLimit {
		return nil, fmt.Errorf("it has more than %d MiB", configLimit>>20)
	}
	type command struct {
		Command []string `yaml:"command"`
		Timeout string   `yaml:"timeout"`
	}
	var document struct {
		APIVersion string   `yaml:"apiVersion"`
		Kind       string   `yaml:"kind"`
		Create     command  `yaml:"create"`
		Delete     command  `yaml:"delete"`
		List       command  `yaml:"list"`
		Upgrade    *command `yaml:"upgrade"`
		Join       string   `yaml:"join"`
	}
	var whole yaml.Node
	if err := yaml.Unmarshal(text, &whole); err == nil && len(whole.Content) > 0 && whole.Content[0].Kind != yaml.MappingNode {
		return nil, fmt.Errorf("it is no provider: want a file with apiVersion: %s, kind: %s, and commands to create, delete and list", configVersion, configKind)
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	if err := decoder.Decode(&document); errors.Is(err, io.EOF) {
		return nil, errors.New("it is empty")
	} else if err != nil {
		return nil, plainly(err)
	}
	if document.Kind != configKind || document.APIVersion != configVersion {
		return nil, fmt.Errorf("it is no provider: want apiVersion: %s and kind: %s, got %q and %q", configVersion, configKind, document.APIVersion, document.Kind)
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, errors.New("it holds more than one YAML document")
	}
	c := &Config{Join: Joining(document.Join)}
	if c.Join == "" {
		c.Join = JoinKubeadm
	}
	type part struct {
		name  string
		from  command
		to    *Command
		usual time.Duration
	}
	parts := []part{{"create", document.Create, &c.Create, createTime}, {"delete", document.Delete, &c.Delete, deleteTime}, {"list", document.List, &c.List, listTime}}
	if document.Upgrade != nil {
		c.Upgrade = &Command{}
		parts = append(parts, part{"upgrade", *document.Upgrade, c.Upgrade, upgradeTime})
	}
	for _, x := range parts {
		limit := x.usual
		if x.from.Timeout != "" {
			if limit, err = time.ParseDuration(x.from.Timeout); err != nil {
				return nil, fmt.Errorf("%s: timeout: %w", x.name, err)
			}
		}
		*x.to = Command{Argv: x.from.Command, Seconds: limit.Seconds()}
	}
	if err := c.Check(); err != nil {
		return nil, err
	}
	return c, nil
}

// plainly says what the parser says without the names of types of Go, and without what stands in the file.
func plainly(err error) error {
	wrong, ok := errors.AsType[*yaml.TypeError](err)
	if !ok {
		return err
	}
	kinds := map[string]string{"!!str": "a text", "!!seq": "a list", "!!map": "fields", "!!int": "a number", "!!float": "a number", "!!bool": "true or false", "!!null": "nothing"}
	var lines []string
	for _, line := range wrong.Errors {
		if m := regexp.MustCompile(`^(line \d+): cannot unmarshal (!!\w+)[^\x00]* into (string|\[\]string|)`).FindStringSubmatch(line); m != nil {
			wants := map[string]string{"string": "a text", "[]string": "a list of words"}
			line = fmt.Sprintf("%s: %s, where %s should be", m[1], cmp.Or(kinds[m[2]], m[2]), cmp.Or(wants[m[3]], "fields"))
		} else if at, _, cut := strings.Cut(line, " not found in type "); cut {
			line = at + " is not known"
		}
		lines = append(lines, line)
	}
	return errors.New(strings.Join(lines, "; "))
}

// Check says what is wrong with a configuration.
func (c *Config) Check() error {
	commands := map[string]Command{"create": c.Create, "delete": c.Delete, "list": c.List}
	if c.Upgrade != nil {
		commands["upgrade"] = *c.Upgrade
	}
	for name, command := range commands {
		switch {
		case len(command.Argv) == 0 || command.Argv[0] == "":
			return fmt.Errorf("%s: it has no command", name)
		case command.Seconds <= 0 || command.Seconds > (24*time.Hour).Seconds():
			return fmt.Errorf("%s: a timeout of %vs: want more than 0 and at most a day", name, command.Seconds)
		}
		for _, arg := range command.Argv {
			if strings.ContainsRune(arg, 0) {
				return fmt.Errorf("%s: a NUL byte in its command", name)
			}
		}
	}
	if c.Join != JoinKubeadm && c.Join != JoinOwn {
		return fmt.Errorf("join: %q: want %s or %s", c.Join, JoinKubeadm, JoinOwn)
	}
	return nil
}

// Limit is how long the command may take.
func (c Command) Limit() time.Duration { return time.Duration(c.Seconds * float64(time.Second)) }
