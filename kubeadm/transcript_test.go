// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package kubeadm

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"refit.dev/refit/skew"
)

// world is a host as the transcripts describe it, and what each step does to it.
type world struct {
	state State
	role  Role
}

// newWorld is a host at 1.36.3 that nothing was done to.
func newWorld(t *testing.T, d *datadriven.TestData) *world {
	var manager, role string
	d.ScanArgs(t, "manager", &manager)
	d.ScanArgs(t, "role", &role)
	w := &world{role: Role(role), state: State{Manager: Manager(manager), looked: PartAll}}
	revision, repository := "-1.1", Repository{
		File: "/etc/apt/sources.list.d/kubernetes.list", Line: 1, URI: "https://pkgs.k8s.io/core:/stable:/v1.36/deb/", Minor: 36,
		text: "deb https://pkgs.k8s.io/core:/stable:/v1.36/deb/ /",
	}
	if w.state.Manager == Dnf {
		revision, repository = "-150500.1.1", Repository{
			File: "/etc/yum.repos.d/kubernetes.repo", Line: 1, ID: "kubernetes", URI: "https://pkgs.k8s.io/core:/stable:/v1.36/rpm/", Minor: 36, Excludes: true,
		}
	}
	w.state.Repositories = []Repository{repository}
	w.state.Packages = &Packages{}
	w.state.Offers = &Offers{Configured: offersOf("1.36.3" + revision), Ahead: offersOf("1.37.2" + revision)}
	for _, name := range packageNames() {
		version := "1.36.3" + revision
		if name == PackageCRITools || name == PackageCNI {
			version = "1.6.0" + revision
		}
		w.state.Packages.Installed = append(w.state.Packages.Installed, Package{Name: name, Version: version, Held: !d.HasArg("loose")})
	}
	v := skew.Version{Minor: 36, Patch: 3}
	w.state.Kubelet = &Kubelet{Installed: v, Running: v, PID: 700, Active: "active (running)", CRI: "unix:///run/containerd/containerd.sock"}
	w.state.Images = &Images{Listed: true, CRICtl: !d.HasArg("no-crictl")}
	w.state.Pods = &Pods{Listed: true}
	if w.role.controlPlane() {
		w.setPods("v1.36.3")
	}
	return w
}

func offersOf(version string) []Offer {
	return []Offer{{PackageKubeadm, version, "kubernetes"}, {PackageKubelet, version, "kubernetes"}, {PackageKubectl, version, "kubernetes"}}
}

func (w *world) setPods(version string) {
	w.state.Pods.Static = nil
	for _, component := range Components() {
		image := "registry.k8s.io/" + component + ":" + version
		w.state.Pods.Static = append(w.state.Pods.Static, StaticPod{Component: component, Image: image, Running: &Container{Image: image}})
	}
}

// set changes the world by words of a transcript.
func (w *world) set(t *testing.T, line string) {
	p := w.state.Packages
	switch words := strings.Fields(line); words[0] {
	case "hold", "unhold":
		for i := range p.Installed {
			if slices.Contains(words[1:], p.Installed[i].Name) {
				p.Installed[i].Held = words[0] == "hold"
			}
		}
	case "remove":
		p.Installed = slices.DeleteFunc(p.Installed, func(p Package) bool { return p.Name == words[1] })
	case "install":
		for i := range p.Installed {
			if p.Installed[i].Name == words[1] {
				p.Installed[i].Version = words[2]
			}
		}
	case "broken":
		p.Broken = words[1:]
	case "double":
		p.Doubles, p.Broken = append(p.Doubles, Package{Name: words[1], Version: words[2], Arch: "x86_64"}), append(p.Broken, words[1])
	case "interrupted":
		p.Interrupted = true
	case "repository-minor":
		fmt.Sscan(words[1], &w.state.Repositories[0].Minor)
	case "no-repository":
		w.state.Repositories = nil
	case "linked-repository":
		w.state.Repositories[0].Linked = true
	case "offer":
		w.state.Offers.Ahead = offersOf(words[1])
	case "ahead-error":
		w.state.Offers.Ahead, w.state.Offers.AheadError = nil, strings.Join(words[1:], " ")
	case "manifest": // COMPONENT [COPY...]
		w.state.Pods.Static = slices.DeleteFunc(w.state.Pods.Static, func(p StaticPod) bool { return p.Component == words[1] })
		for _, copied := range words[2:] { // moved when their directory was made, the newest first
			moved, err := time.Parse("2006-01-02-15-04-05", strings.TrimPrefix(path.Base(path.Dir(copied)), "kubeadm-backup-manifests-"))
			if err != nil {
				t.Fatal(err)
			}
			w.state.Pods.Saved = append(w.state.Pods.Saved, SavedManifest{Path: copied, Moved: moved})
		}
	case "image":
		for i := range w.state.Pods.Static {
			if pod := &w.state.Pods.Static[i]; pod.Component == words[1] {
				pod.Image, pod.Running.Image = words[2], words[2]
			}
		}
	case "kubelet-up": // and every container is as old as the second number says, the API server a minute younger
		ago := func(word string) time.Duration {
			d, err := time.ParseDuration(word + "s")
			if err != nil {
				t.Fatal(err)
			}
			return d
		}
		up, age, now := ago(words[1]), ago(words[2]), time.Unix(1_700_000_000, 0)
		w.state.Kubelet.Up, w.state.Kubelet.Started = up, now.Add(-up)
		for i := range w.state.Pods.Static {
			w.state.Pods.Static[i].Running.Started = now.Add(-age)
		}
		w.state.Pods.Static[0].Running.Started = now.Add(-age + time.Minute)
	case "kubelet-runs":
		v, err := skew.Parse(words[1])
		if err != nil {
			t.Fatal(err)
		}
		w.state.Kubelet.Installed, w.state.Kubelet.Running = v, v
	case "health":
		w.state.Health = &Health{APIServer: Answer{Asked: true, Problem: strings.Join(words[1:], " ")}}
	case "copy":
		w.state.Copies = append(w.state.Copies, Copy{Path: words[1]})
	default:
		t.Fatalf("what is %q?", line)
	}
}

// do does what a step does to a host, if all goes well.
func (w *world) do(t *testing.T, target Target, step StepName) {
	v, s := target.Version, &w.state
	install := func(names ...string) {
		for _, name := range names {
			offer, found := Resolve(*s, name, v)
			if !found {
				t.Fatalf("%s is not offered", name)
			}
			w.set(t, "install "+name+" "+offer.Version)
			s.Packages.Broken, s.Packages.Doubles, s.Packages.Interrupted = nil, nil, false
		}
	}
	switch step {
	case StepRepository:
		s.Repositories[0].Minor = v.Minor
		s.Offers = &Offers{}
	case StepLists:
		version := v.String()[1:] + "-1.1"
		if s.Manager == Dnf {
			version = v.String()[1:] + "-150500.1.1"
		}
		s.Offers = &Offers{Configured: offersOf(version)}
	case StepDownload:
		for _, name := range target.packages(*s) {
			o, _ := Resolve(*s, name, v)
			s.Packages.Downloaded = append(s.Packages.Downloaded, managed(*s).file(o)+"amd64.deb")
		}
	case StepKubeadm:
		install(PackageKubeadm)
	case StepImages:
		s.Images = &Images{Listed: true, Wanted: []string{"i:1"}, Present: []string{"i:1"}}
	case StepManifests:
		w.setPods("v1.36.3")
	case StepUpgrade:
		if w.role.controlPlane() {
			w.setPods(v.String())
			s.Copies = append(s.Copies, Copy{Path: copyPrefix + "2026-11-23-12-00-00"})
		}
	case StepKubelet:
		install(target.packages(*s)[1:]...)
		s.Kubelet.Installed, s.Kubelet.Replaced = v, true
	case StepRestart:
		s.Kubelet.Running, s.Kubelet.Replaced = v, false
	case StepHolds:
		for _, name := range target.Held {
			w.set(t, "hold "+name)
		}
	case StepClean:
		s.Copies = nil
	}
}

func (w *world) target(t *testing.T, d *datadriven.TestData) Target {
	target := Target{Run: "r1", Node: "node-1", Role: w.role, Version: skew.Version{Minor: 37, Patch: 2}, Clean: d.HasArg("clean"), KubeadmDone: d.HasArg("kubeadm-done")}
	for _, arg := range d.CmdArgs {
		switch arg.Key {
		case "held":
			target.Held = arg.Vals
		case "ignore":
			target.IgnorePreflight = arg.Vals
		case "patches":
			target.Patches = arg.Vals[0]
		case "images":
			target.ImageRepository = arg.Vals[0]
		case "begun": // kubeadm was run first at that time
			begun, err := time.Parse(time.RFC3339, arg.Vals[0])
			if err != nil {
				t.Fatal(err)
			}
			target.Begun = begun
		case "external-etcd":
			target.ExternalEtcd = true
		}
	}
	return target
}

func show(b *strings.Builder, step Step, actions []Action) {
	fmt.Fprintf(b, "%s (%s): %s\n", step.Name, step.Stage, step.Words)
	for _, a := range actions {
		mark := ""
		if a.Unit != "" {
			mark = strings.TrimSpace("["+a.Unit+"] "+strings.Join(a.Env, " ")) + "\n    "
		}
		fmt.Fprintf(b, "    %s%s\n", mark, a)
		if a.Keep != "" {
			fmt.Fprintf(b, "    # kept: %s\n", a.Keep)
		}
	}
}

// TestCommands is what runs on a host, for apt and dnf, for each role, from each
// state in which an earlier attempt may have left it.
//
//	host manager=apt|dnf role=ROLE [loose]    a host at 1.36.3; then lines that change it
//	commands [TARGET]                         what runs to get to 1.37.2
//	walk [TARGET]                             step after step, each time looking again
//	verify [TARGET]
func TestCommands(t *testing.T) {
	datadriven.Walk(t, "testdata/commands", func(t *testing.T, file string) {
		var w *world
		datadriven.RunTest(t, file, func(t *testing.T, d *datadriven.TestData) string {
			var b strings.Builder
			switch d.Cmd {
			case "host":
				w = newWorld(t, d)
				for _, line := range lines(d.Input) {
					w.set(t, line)
				}
				return Describe(w.state) + "\n"
			case "commands":
				all, err := Commands(w.target(t, d), w.state)
				if err != nil {
					var f *Failure
					if !errors.As(err, &f) {
						t.Fatalf("this is no Failure: %v", err)
					}
					return fmt.Sprintf("%s: %s\nhint: %s\n", f.Kind, f, f.Hint)
				}
				for _, p := range all {
					show(&b, p.Step, p.Actions)
				}
			case "walk":
				target := w.target(t, d)
				for _, step := range Steps(target, w.state) {
					if step.Done(w.state) {
						fmt.Fprintf(&b, "%s: nothing to do\n", step.Name)
						continue
					}
					actions, err := step.Actions(w.state)
					if err != nil {
						fmt.Fprintf(&b, "%s: %v\n", step.Name, err)
						break
					}
					show(&b, step, actions)
					w.do(t, target, step.Name)
					if step.Name == StepUpgrade {
						target.KubeadmDone = true
					}
				}
				all, err := Commands(target, w.state)
				fmt.Fprintf(&b, "left: %d steps, %v; verified: %q\n", len(all), err, Verify(target, w.state))
			case "verify":
				for _, problem := range Verify(w.target(t, d), w.state) {
					fmt.Fprintln(&b, problem)
				}
			default:
				t.Fatalf("what is %q?", d.Cmd)
			}
			return b.String()
		})
	})
}
