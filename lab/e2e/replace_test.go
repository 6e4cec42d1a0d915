// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"refit.dev/refit/lab"
)

// refitLab is the program that `make bin/refit-lab` makes: the lab as a provider of machines.
const refitLab = "../../bin/refit-lab"

// TestReplace has the workers of a cluster give way to new machines.
func TestReplace(t *testing.T) {
	l := up(t, lab.Options{Name: "e2e-replace"})
	o := newOperator(t, l)
	kubectl(t, l, "label", "node", "w1", "example.org/team=a")
	kubectl(t, l, "label", "node", "w2", "node-role.kubernetes.io/edge=")
	before := containers(t, l)
	served := service(t, l, "cp1")
	run := o.start(t, o.apply("--strategy", "replace", "--surge", "1", "--provider", providerOf(t, l))...)
	again := func() { run = o.start(t, "runs", "resume") }
	chapter(t, "kill -9 when the new machine is made and has not joined: resumed, it is waited for", func(t *testing.T) {
		fresh := ""
		eventually(t, "there is a new machine", func() error {
			run.alive(t)
			more := slices.DeleteFunc(containers(t, l), func(name string) bool { return slices.Contains(before, name) })
			if len(more) != 1 {
				return errors.New("there is none")
			}
			fresh = strings.TrimPrefix(more[0], "refit-lab-e2e-replace-")
			return nil
		})
		eventually(t, "it has power", func() error {
			_, err := l.Exec(t.Context(), fresh, "true")
			return err
		})
		join := inMachine(t, l, fresh, "it joins", stop("^kubeadm join"), run)
		run.alive(t)
		run.kill()
		if _, there := nodes(t, l)[fresh]; there {
			t.Errorf("%s has joined before the kill", fresh)
		}
		if n := nodes(t, l)["w1"]; n.Spec.Unschedulable || nodes(t, l)["w2"].Spec.Unschedulable {
			t.Error("an old node was cordoned before a new one was there")
		}
		inMachine(t, l, fresh, "kubeadm goes on", resume(join), nil)
		again()
	})
	chapter(t, "resumed, it replaces both workers", func(t *testing.T) {
		run.wait(t).want(t, 0, "3 of 3 nodes upgraded")
	})
	t.Run("the Service was served all the time", func(t *testing.T) { served.wantAll(t, "the Service through cp1") })
	t.Run("no machine is leaked and none lost", func(t *testing.T) {
		after := containers(t, l)
		if len(after) != len(before) || slices.ContainsFunc(after, func(name string) bool { return strings.HasSuffix(name, "-w1") || strings.HasSuffix(name, "-w2") }) {
			t.Errorf("before %q, after %q", before, after)
		}
		if all := nodes(t, l); len(all) != 3 {
			t.Errorf("%d nodes, want 3", len(all))
		}
	})
	l, err := lab.Open(t.Context(), l.Name())
	must(t, err)
	wantUpgraded(t, l)
	t.Run("labels were carried over", func(t *testing.T) {
		for _, label := range []string{"example.org/team=a", "node-role.kubernetes.io/edge="} {
			if got := kubectl(t, l, "get", "nodes", "--selector", label, "-o", "name"); strings.Count(got, "node/refit-") != 1 {
				t.Errorf("%s has %s", got, label)
			}
		}
	})
	t.Run("no token is left", func(t *testing.T) {
		if got := kubectl(t, l, "--namespace", "kube-system", "get", "secrets", "--field-selector", "type=bootstrap.kubernetes.io/token",
			"-o", `jsonpath={range .items[*]}{.metadata.name} {.data.description}{"\n"}{end}`); strings.Contains(got, "cmVmaXQ6") { // refit:
			t.Errorf("there is %s", got)
		}
	})
	var fresh []string
	for _, m := range l.Nodes() {
		if m.Role == lab.Worker {
			fresh = append(fresh, m.Name)
		}
	}
	t.Run("the Service answers through all machines", func(t *testing.T) { wantAnswers(t, l, fresh...) })
	t.Run("SSH to the new machines works, with their known host keys", func(t *testing.T) {
		for _, name := range fresh {
			if got := mustSSH(t, l, name, "hostname"); got != name {
				t.Errorf("ssh %s: got %q", name, got)
			}
		}
	})
}

// containers are those of the lab, as Docker lists them.
func containers(t *testing.T, l *lab.Lab) []string {
	t.Helper()
	names, err := l.Containers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// providerOf writes the file that makes the lab a provider of machines.
func providerOf(t *testing.T, l *lab.Lab) string {
	t.Helper()
	program, err := filepath.Abs(refitLab)
	if err != nil {
		t.Fatal(err)
	}
	var out, said bytes.Buffer
	cmd := exec.CommandContext(t.Context(), program, "machine", "provider", "--name", l.Name())
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %s: make bin/refit-lab makes it", err, said.String())
	}
	file := filepath.Join(t.TempDir(), "provider.yaml")
	if err := os.WriteFile(file, out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
