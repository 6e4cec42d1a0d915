// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package kubeadm

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"sigs.k8s.io/yaml"

	"refit.dev/refit/host"
	"refit.dev/refit/host/hosttest"
	"refit.dev/refit/skew"
)

var partsByName = map[string]Parts{
	"system": PartSystem, "packages": PartPackages, "repositories": PartRepositories, "automatic": PartAutomatic, "disks": PartDisks,
	"kubelet": PartKubelet, "runtime": PartRuntime, "pods": PartPods, "certificates": PartCertificates, "copies": PartCopies, "images": PartImages,
}

// TestObserve is what is made of what a host's programs answer.
//
//	file PATH                          a file and its content
//	exec status=N                      a command (first line) and what it writes
//	observe parts=(...) version=V      the State
//
// Commands that are not described are not installed.
func TestObserve(t *testing.T) {
	datadriven.Walk(t, "testdata/observe", func(t *testing.T, path string) {
		answers := map[string]host.Result{}
		files := map[string]string{}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "file":
				files[d.CmdArgs[0].Key] = strings.ReplaceAll(d.Input, "<NUL>", "\x00") + "\n"
				return ""
			case "exec":
				line, output, _ := strings.Cut(d.Input, "\n")
				result := host.Result{Stdout: []byte(strings.ReplaceAll(output, "<TAB>", "\t") + "\n")}
				d.MaybeScanArgs(t, "status", &result.Code)
				if d.HasArg("stderr") {
					result.Stderr, result.Stdout = result.Stdout, nil
				}
				answers[line] = result
				return ""
			case "observe":
				q := Query{}
				for _, arg := range d.CmdArgs {
					switch arg.Key {
					case "parts":
						for _, name := range arg.Vals {
							q.Parts |= partsByName[name]
						}
					case "version":
						v, err := skew.Parse(arg.Vals[0])
						if err != nil {
							t.Fatal(err)
						}
						q.Version = v
					}
				}
				s, err := Observe(t.Context(), answering(t, files, answers), q)
				if err != nil {
					return "error: " + err.Error() + "\n"
				}
				text, err := yaml.Marshal(s)
				if err != nil {
					t.Fatal(err)
				}
				return string(text)
			}
			t.Fatalf("what is %q?", d.Cmd)
			return ""
		})
	})
}

// answering is a machine with those files and answers.
func answering(t testing.TB, files map[string]string, answers map[string]host.Result) *hosttest.Machine {
	m := hosttest.New(t, "node-1")
	for path, text := range files {
		m.SetFile(path, text, 0o644)
	}
	for line, result := range answers {
		m.AlwaysFunc(line, func(argv []string) bool { return shellLine(argv) == line }).
			Stdout(string(result.Stdout)).Stderr(string(result.Stderr)).Code(result.Code)
	}
	m.AlwaysFunc("find", func(argv []string) bool { return argv[0] == "find" }).Code(1)
	m.AlwaysFunc("not installed", func([]string) bool { return true }).Code(notFound).Stderr("env: no such program")
	return m
}

func TestRepositoriesArePointedElsewhere(t *testing.T) {
	datadriven.RunTest(t, "testdata/repositories", func(t *testing.T, d *datadriven.TestData) string {
		var b strings.Builder
		path, minor := d.CmdArgs[0].Key, 0
		d.ScanArgs(t, "minor", &minor)
		var offers []Offer
		if d.HasArg("offers") {
			offers = []Offer{{Name: PackageKubeadm, Repository: d.CmdArgs[2].Vals[0]}}
		}
		all := repositoriesIn(path, d.Input, offers)
		for _, r := range all {
			fmt.Fprintf(&b, "line %d: %s v1.%d excludes=%v id=%q\n", r.Line, r.URI, r.Minor, r.Excludes, r.ID)
		}
		r, found := repositoryAt(all, minor)
		if !found {
			return b.String() + "none\n"
		}
		text, err := r.pointAt(d.Input, minor)
		if err != nil {
			return b.String() + "error: " + err.Error() + "\n"
		}
		before, after := strings.Split(d.Input, "\n"), strings.Split(text, "\n")
		if len(before) != len(after) {
			t.Fatal("lines were added or removed")
		}
		for i := range after {
			if before[i] != after[i] {
				fmt.Fprintf(&b, "-%s\n+%s\n", before[i], after[i])
			}
		}
		again, _ := repositoryAt(repositoriesIn(path, text, offers), minor)
		if same, err := again.pointAt(text, minor); err != nil || same != text {
			t.Errorf("pointing at the same minor again changes the file, or fails: %v", err)
		}
		return b.String()
	})
}

func TestUpstream(t *testing.T) {
	for text, want := range map[string]string{
		"1.37.2-1.1": "v1.37.2", "1.37.2-150500.1.1": "v1.37.2", "0:1.37.2-150500.1.1": "v1.37.2", "1.38.0~rc.1-1.1": "v1.38.0-rc.1",
		"1.37.2": "v1.37.2", "1.37-1.1": "", "x:1.37.2-1": "", "": "", ":": "", "2.0.1-1": "",
	} {
		v, ok := upstream(text)
		if got := map[bool]string{true: v.String()}[ok]; got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestTheHighestRevisionIsPicked(t *testing.T) {
	offers := []Offer{{"kubeadm", "1.37.2-1.1", ""}, {"kubelet", "1.37.2-9.9", ""}, {"kubeadm", "1.37.2-1.10", ""}, {"kubeadm", "1.37.2-1.9", ""}, {"kubeadm", "1.37.20-1.1", ""}}
	o, found := pick(offers, "kubeadm", skew.Version{Minor: 37, Patch: 2})
	if !found || o.Version != "1.37.2-1.10" {
		t.Errorf("got %v, %v", o, found)
	}
	if _, found := pick(offers, "kubectl", skew.Version{Minor: 37, Patch: 2}); found {
		t.Error("what is not offered was found")
	}
}

func TestNewer(t *testing.T) {
	order := []string{"v1.36.9", "v1.37.0-alpha.1", "v1.37.0-rc.1", "v1.37.0-rc.2", "v1.37.0-rc.10", "v1.37.0", "v1.37.2", "v1.37.10"}
	for i, a := range order {
		for j, b := range order {
			va, _ := skew.Parse(a)
			vb, _ := skew.Parse(b)
			if newer(va, vb) != (i > j) {
				t.Errorf("newer(%s, %s) is %v", a, b, i <= j)
			}
		}
	}
}

func TestUnitNames(t *testing.T) {
	seen := map[string]string{}
	for _, node := range []string{"node-1", "node_1", "node/1", strings.Repeat("n", 250) + "1", strings.Repeat("n", 250) + "2"} {
		target := Target{Run: "r1", Node: node, Version: skew.Version{Minor: 37, Patch: 2}}
		name := target.unit(StepKubelet)
		if len(name) > 200 || !strings.HasPrefix(name, "refit-r1-") || seen[name] != "" {
			t.Errorf("node %s: unit %s (%q has it too)", node, name, seen[name])
		}
		seen[name] = node
	}
}

func TestWithTakesWhatWasLookedAt(t *testing.T) {
	old := State{Manager: Apt, Packages: &Packages{}, Kubelet: &Kubelet{PID: 1}, Copies: []Copy{{Path: "a"}}, looked: PartAll}
	now := old.With(State{Manager: Apt, Kubelet: &Kubelet{PID: 2}, looked: PartKubelet | PartCopies})
	if now.Packages != old.Packages || now.Kubelet.PID != 2 || now.Copies != nil || now.Looked() != PartAll {
		t.Errorf("got %+v", now)
	}
}

func TestTargetCheck(t *testing.T) {
	good := Target{Run: "r", Node: "n", Role: Worker, Version: skew.Version{Minor: 37, Patch: 2}, Held: []string{PackageKubelet}, IgnorePreflight: []string{"Swap"}, Patches: "/etc/p"}
	if err := good.Check(); err != nil {
		t.Error(err)
	}
	for name, spoil := range map[string]func(*Target){
		"no run": func(t *Target) { t.Run = "" }, "no patch": func(t *Target) { t.Version.Patch = skew.Unknown }, "no role": func(t *Target) { t.Role = "x" },
		"a flag": func(t *Target) { t.IgnorePreflight = []string{"--force"} }, "a relative path": func(t *Target) { t.Patches = "p" }, "no package": func(t *Target) { t.Held = []string{"bash"} },
	} {
		bad := good
		bad.Held, bad.IgnorePreflight = slices.Clone(good.Held), slices.Clone(good.IgnorePreflight)
		spoil(&bad)
		if bad.Check() == nil {
			t.Errorf("%s: not refused", name)
		}
	}
}
