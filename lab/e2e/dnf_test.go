// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"k8s.io/utils/clock"

	"refit.dev/refit/host"
	"refit.dev/refit/host/remote"
	"refit.dev/refit/kubeadm"
	"refit.dev/refit/lab"
	"refit.dev/refit/skew"
)

// rpms makes packages and repositories of rpm's, and serves them.
//
//go:embed testdata/rpms.sh
var rpms string

// rpmHost is a machine whose packages come by dnf.
type rpmHost struct {
	lab     *lab.Lab
	machine host.Machine
	target  kubeadm.Target
}

// TestDnf has what refit does with dnf done by a real dnf, with small packages of the names and
// versions of Kubernetes.
func TestDnf(t *testing.T) {
	h := newRPMHost(t)
	chapter(t, "what is installed, held and offered is found, and nothing is changed", h.observes)
	chapter(t, "a version that comes into the repository later is seen at once", h.seesNews)
	chapter(t, "a version that no repository has is refused", h.refuses)
	chapter(t, "the repository is pointed elsewhere, lists and packages are loaded, nothing is installed", h.ahead)
	chapter(t, "kubeadm is installed in that version and no other, and all holds are there", h.kubeadm)
	chapter(t, "another repository of the host is out of order: the failure is told, and all holds are there", h.otherRepository)
	chapter(t, "dnf is killed in the middle of a package: looked at again, it is brought to its end", h.killed)
	chapter(t, "a hold that a loss of power has taken is restored", h.powerLost)
}

func newRPMHost(t *testing.T) *rpmHost {
	const name = "e2e-dnf"
	say := func(line string) { t.Log(line) }
	t.Cleanup(func() {
		if err := lab.Down(context.WithoutCancel(t.Context()), name, say); err != nil {
			t.Errorf("the lab is not gone: %v", err)
		}
	})
	l, err := lab.UpDnf(t.Context(), name, say)
	must(t, err)
	network, err := remote.New(remote.Options{ConfigFile: l.SSHConfig(), Home: t.TempDir(), User: "nobody", Clock: clock.RealClock{}})
	must(t, err)
	where, err := network.Target(remote.Address{Name: "w1", Host: l.Machines()[0].Address.String()})
	must(t, err)
	h := &rpmHost{lab: l, machine: network.Machine(where, nil)}
	t.Cleanup(func() { _ = h.machine.Close() })
	h.target = kubeadm.Target{Run: "r1", Node: "w1", Role: kubeadm.Worker, Version: skew.Version{Minor: 37, Patch: 2}, Held: []string{"kubeadm", "kubelet", "kubectl", "kubernetes-cni"}}
	h.sh(t, rpms)
	return h
}

// sh runs a script on the machine, past what is tested.
func (h *rpmHost) sh(t *testing.T, script string) string {
	t.Helper()
	return inMachine(t, h.lab, "w1", "run a script", script, nil)
}

func (h *rpmHost) look(t *testing.T) kubeadm.State {
	t.Helper()
	s, err := kubeadm.Observe(t.Context(), h.machine, h.target.Query(kubeadm.PartPackages|kubeadm.PartRepositories))
	must(t, err)
	return s
}

func (h *rpmHost) step(t *testing.T, name kubeadm.StepName, s kubeadm.State) kubeadm.Step {
	t.Helper()
	all := kubeadm.Steps(h.target, s)
	return all[slices.IndexFunc(all, func(step kubeadm.Step) bool { return step.Name == name })]
}

// do does a step and returns what it says.
func (h *rpmHost) do(t *testing.T, name kubeadm.StepName) error {
	t.Helper()
	s := h.look(t)
	return h.step(t, name, s).Do(t.Context(), kubeadm.Work{Machine: h.machine, Clock: clock.RealClock{}, Output: func(line string) { t.Log(line) }}, s)
}

// done does a step, which has to be done then by what is found.
func (h *rpmHost) done(t *testing.T, name kubeadm.StepName) {
	t.Helper()
	must(t, h.do(t, name))
	s := h.look(t)
	if !h.step(t, name, s).Done(s) {
		t.Fatalf("%s is not done: %s", name, kubeadm.Describe(s))
	}
}

// wantInstalled asks rpm.
func (h *rpmHost) wantInstalled(t *testing.T, want ...string) {
	t.Helper()
	got := strings.Fields(h.sh(t, `rpm --query --queryformat '%{NAME}-%{VERSION}\n' kubeadm kubelet kubectl kubernetes-cni`))
	if !slices.Equal(got, want) {
		t.Errorf("rpm has %q, want %q", got, want)
	}
}

// wantLocked reads what versionlock keeps.
func (h *rpmHost) wantLocked(t *testing.T, want ...string) {
	t.Helper()
	got := strings.Fields(h.sh(t, `grep -hv '^#' /etc/dnf/plugins/versionlock.list | grep . | sort`))
	slices.Sort(want)
	for i := range want {
		want[i] += "-150500.1.1.*"
	}
	if !slices.Equal(got, want) {
		t.Errorf("versionlock keeps %q, want %q", got, want)
	}
}

func (h *rpmHost) observes(t *testing.T) {
	const everything = "cat /etc/yum.repos.d/* /etc/dnf/plugins/versionlock.list; rpm --query --all | sort; ls -d /tmp/refit* 2>/dev/null || true"
	before := h.sh(t, everything)
	s := h.look(t)
	if s.Manager != kubeadm.Dnf || len(s.Packages.Installed) != 4 || !slices.Equal(s.Packages.Held(), h.target.Held) || len(s.Packages.Broken) > 0 {
		t.Errorf("%s, %+v", s.Manager, s.Packages)
	}
	if len(s.Repositories) != 1 || s.Repositories[0].Minor != 36 || !s.Repositories[0].Excludes {
		t.Errorf("repositories %+v", s.Repositories)
	}
	for version, want := range map[skew.Version]bool{
		{Minor: 36, Patch: 2}: true, {Minor: 36, Patch: 3}: true, {Minor: 37, Patch: 1}: true, {Minor: 37, Patch: 2}: false, {Minor: 36, Patch: 4}: false,
	} {
		for _, name := range []string{"kubeadm", "kubelet", "kubectl"} {
			o, found := kubeadm.Resolve(s, name, version)
			if found != want || found && o.Version != strings.TrimPrefix(version.String(), "v")+"-150500.1.1" {
				t.Errorf("%s %s: %+v, %t", name, version, o, found)
			}
		}
	}
	if s.Offers.AheadError != "" {
		t.Error(s.Offers.AheadError)
	}
	if after := h.sh(t, everything); after != before {
		t.Errorf("before\n%s\nafter\n%s", before, after)
	}
}

func (h *rpmHost) seesNews(t *testing.T) {
	h.sh(t, "publish 37 1.37.2")
	if s := h.look(t); s.Offers == nil {
		t.Fatal("nothing is offered")
	} else if _, found := kubeadm.Resolve(s, "kubelet", h.target.Version); !found {
		t.Errorf("%s is not seen: %+v", h.target.Version, s.Offers.Ahead)
	}
}

func (h *rpmHost) refuses(t *testing.T) {
	other := *h
	other.target.Version.Patch = 9
	s := other.look(t)
	_, err := kubeadm.Commands(other.target, s)
	failure := (*kubeadm.Failure)(nil)
	if !errors.As(err, &failure) || failure.Kind != kubeadm.KindVersionMissing || !strings.Contains(err.Error(), "1.37.2-150500.1.1") {
		t.Errorf("got %v", err)
	}
}

func (h *rpmHost) ahead(t *testing.T) {
	for _, name := range []kubeadm.StepName{kubeadm.StepRepository, kubeadm.StepLists, kubeadm.StepDownload} {
		h.done(t, name)
	}
	h.wantInstalled(t, "kubeadm-1.36.3", "kubelet-1.36.3", "kubectl-1.36.3", "kubernetes-cni-1.6.0")
	h.wantLocked(t, "kubeadm-0:1.36.3", "kubelet-0:1.36.3", "kubectl-0:1.36.3", "kubernetes-cni-0:1.6.0")
	if got := h.sh(t, "cat /etc/yum.repos.d/kubernetes.repo"); !strings.Contains(got, "stable:/v1.37/rpm/") || strings.Contains(got, "v1.36") || !strings.Contains(got, "exclude=kubelet") {
		t.Errorf("the repository is\n%s", got)
	}
}

func (h *rpmHost) kubeadm(t *testing.T) {
	h.done(t, kubeadm.StepKubeadm)
	h.wantInstalled(t, "kubeadm-1.37.2", "kubelet-1.36.3", "kubectl-1.36.3", "kubernetes-cni-1.6.0")
	h.wantLocked(t, "kubeadm-0:1.37.2", "kubelet-0:1.36.3", "kubectl-0:1.36.3", "kubernetes-cni-0:1.6.0")
}

func (h *rpmHost) otherRepository(t *testing.T) {
	h.sh(t, `printf '[other]\nname=other\nbaseurl=http://127.0.0.1:9/\ngpgcheck=0\n' >/etc/yum.repos.d/other.repo`)
	err := h.do(t, kubeadm.StepKubelet)
	h.sh(t, "rm /etc/yum.repos.d/other.repo")
	if failure := (*kubeadm.Failure)(nil); !errors.As(err, &failure) || !strings.Contains(strings.Join(failure.Output, "\n"), "other") {
		t.Errorf("got %v", err)
	}
	h.wantInstalled(t, "kubeadm-1.37.2", "kubelet-1.36.3", "kubectl-1.36.3", "kubernetes-cni-1.6.0")
	h.wantLocked(t, "kubeadm-0:1.37.2", "kubelet-0:1.36.3", "kubectl-0:1.36.3", "kubernetes-cni-0:1.6.0")
}

func (h *rpmHost) killed(t *testing.T) {
	h.sh(t, "touch /run/hang")
	ended := make(chan error, 1)
	go func() { ended <- h.do(t, kubeadm.StepKubelet) }()
	h.sh(t, "until [ -e /run/hanging ]; do sleep 0.05; done")
	h.sh(t, "systemctl kill --kill-who=all --signal=KILL 'refit-r1-w1-kubelet-*'")
	if err := <-ended; err == nil {
		t.Error("a killed dnf is told as done")
	}
	h.sh(t, "rm -f /run/hang /run/hanging")
	s := h.look(t)
	if !slices.Equal(s.Packages.Broken, []string{"kubelet", "kubernetes-cni"}) || h.step(t, kubeadm.StepKubelet, s).Done(s) {
		t.Errorf("found %+v", s.Packages)
	}
	h.done(t, kubeadm.StepKubelet)
	h.wantInstalled(t, "kubeadm-1.37.2", "kubelet-1.37.2", "kubectl-1.37.2", "kubernetes-cni-1.7.0")
	h.wantLocked(t, "kubeadm-0:1.37.2", "kubelet-0:1.37.2", "kubectl-0:1.37.2", "kubernetes-cni-0:1.7.0")
	if got := h.sh(t, "rpm --verify kubeadm kubelet kubectl kubernetes-cni; cat /var/lib/kubelet-scripts"); got != "kubelet 1.37.2" {
		t.Errorf("files that are not the packages', or scripts that have not run: %q", got)
	}
}

func (h *rpmHost) powerLost(t *testing.T) {
	h.sh(t, "dnf --quiet versionlock delete kubelet kubectl")
	h.done(t, kubeadm.StepHolds)
	h.wantLocked(t, "kubeadm-0:1.37.2", "kubelet-0:1.37.2", "kubectl-0:1.37.2", "kubernetes-cni-0:1.7.0")
	// What is held stays, whatever else is upgraded.
	h.sh(t, "publish 37 1.37.3")
	out := h.sh(t, "dnf --assumeno --refresh --disableexcludes=kubernetes upgrade 2>&1 || true")
	if strings.Contains(out, "1.37.3") {
		t.Error(fmt.Errorf("dnf would upgrade what is held: %s", out))
	}
}
