// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"go.yaml.in/yaml/v3"

	"refit.dev/refit/internal/hint"
	"refit.dev/refit/internal/statedir"
	"refit.dev/refit/lab"
	"refit.dev/refit/provider"
)

// questionLimit is how many bytes of a question are read: one about a machine has a few hundred.
const questionLimit = 1 << 20

// question is what refit asks a provider, see docs/how-to/replace-nodes.md.
type question struct {
	Version int               `json:"version"`
	Action  string            `json:"action"`
	Order   *provider.Order   `json:"order"`
	Machine *provider.Machine `json:"machine"`
}

// machine is the lab as a provider of machines: `machine create`, `delete` and `list` answer refit's
// questions, and `machine provider` writes the file that names them.
func machine(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, progress lab.Progress) error {
	verb := ""
	if len(args) > 0 {
		verb, args = args[0], args[1:]
	}
	flags := flag.NewFlagSet("refit-lab machine "+verb, flag.ContinueOnError)
	flags.SetOutput(stderr)
	name := flags.String("name", lab.DefaultName, "the lab's name")
	if err := parse(flags, args); err != nil {
		return err
	}
	if verb == "provider" {
		return writeProvider(stdout, *name)
	}
	if verb != "create" && verb != "delete" && verb != "list" {
		return errors.New("machine: want one of: create, delete, list, provider")
	}
	var q question
	if err := json.NewDecoder(io.LimitReader(stdin, questionLimit)).Decode(&q); err != nil {
		return hint.Wrap(fmt.Errorf("read the question: %w", err), "refit asks it, as JSON on the standard input; by hand: echo '{\"version\": 1, \"action\": \"list\"}' | refit-lab machine list")
	}
	if q.Version != 1 || q.Action != verb {
		return fmt.Errorf("the question is a %q of version %d, want %q of version 1", q.Action, q.Version, verb)
	}
	switch {
	case verb == "list":
		machines, err := list(ctx, *name)
		if err != nil {
			return err
		}
		return json.NewEncoder(stdout).Encode(map[string]any{"machines": machines})
	case verb == "create" && q.Order != nil:
		m, err := create(ctx, *name, *q.Order, progress)
		if err != nil {
			return err
		}
		return json.NewEncoder(stdout).Encode(map[string]any{"machine": m})
	case verb == "delete" && q.Machine != nil:
		return lab.Remove(ctx, *name, q.Machine.ID, progress)
	}
	return fmt.Errorf("the question does not say what to %s", verb)
}

func list(ctx context.Context, name string) ([]provider.Machine, error) {
	nodes, err := lab.Present(ctx, name)
	if err != nil {
		return nil, err
	}
	out := []provider.Machine{}
	for _, n := range nodes {
		out = append(out, told(n))
	}
	return out, nil
}

// told is a node as a provider tells of it: one that was added has its key as its name.
func told(n lab.Node) provider.Machine {
	m := provider.Machine{ID: n.ID, Node: n.Name, Deleting: n.Leaving}
	if n.Added {
		m.Key = n.Name
	}
	return m
}

func create(ctx context.Context, name string, o provider.Order, progress lab.Progress) (provider.Machine, error) {
	if o.Join == nil {
		return provider.Machine{}, hint.Wrap(errors.New("the order does not say how the machine joins"), "the provider's file has to have join: kubeadm")
	}
	n, err := lab.Add(ctx, name, lab.Newcomer{
		Name: o.Key, Version: o.Version, Labels: o.Labels, Taints: o.Taints,
		Server: o.Join.Server, Token: o.Join.Token, CACertHash: o.Join.CACertHash,
	}, progress)
	if err != nil {
		return provider.Machine{}, err
	}
	return told(n), nil
}

// writeProvider writes the file that `refit upgrade apply --provider` wants. The commands find the lab
// wherever refit keeps its own state.
func writeProvider(w io.Writer, name string) error {
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program's own path: %w", err)
	}
	state, err := statedir.Path()
	if err != nil {
		return err
	}
	type command struct {
		Command []string `yaml:"command,flow"`
	}
	does := func(verb string) command {
		return command{[]string{"env", statedir.Env + "=" + state, program, "machine", verb, "--name", name}}
	}
	data, err := yaml.Marshal(struct {
		APIVersion string  `yaml:"apiVersion"`
		Kind       string  `yaml:"kind"`
		Create     command `yaml:"create"`
		Delete     command `yaml:"delete"`
		List       command `yaml:"list"`
		Join       string  `yaml:"join"`
	}{"refit.dev/v1alpha1", "Provider", does("create"), does("delete"), does("list"), string(provider.JoinKubeadm)})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "# Written by refit-lab: lab %s makes and removes machines.\n%s", name, data)
	return err
}
