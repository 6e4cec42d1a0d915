// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package restore

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"refit.dev/refit/etcd"
	"refit.dev/refit/host"
	"refit.dev/refit/internal/hint"
	"refit.dev/refit/kubeadm"
	"refit.dev/refit/run"
)

// Components of a control plane, by the names of their static pods and units.
const (
	etcdName          = "etcd"
	apiServer         = "kube-apiserver"
	controllerManager = "kube-controller-manager"
	scheduler         = "kube-scheduler"
)

// control stops and starts the components of one machine. What is asked for and is so
// already is done.
type control interface {
	stop(ctx context.Context, component string) error
	start(ctx context.Context, component string) error
	// end ends at once what was told to stop.
	end(ctx context.Context, component string) error
	// running tells which components run.
	running(ctx context.Context) (map[string]bool, error)
	// has tells whether the machine has a component, running or stopped.
	has(ctx context.Context, component string) (bool, error)
	// restartKubelet restarts the kubelet, if there is one: it watches anew.
	restartKubelet(ctx context.Context) error
	// stopKubelet and startKubelet are for a machine that has none at work yet; the second has it start with the
	// machine, too.
	stopKubelet(ctx context.Context) error
	startKubelet(ctx context.Context) error
	// kubeletRuns tells whether the kubelet was started: also one that ends again and again, as it does without a
	// configuration. resumeKubelet starts it until the machine does.
	kubeletRuns(ctx context.Context) (bool, error)
	resumeKubelet(ctx context.Context) error
	// reach is how the machine's own member of etcd is asked, from the machine, with the
	// certificates of its API server.
	reach(ctx context.Context, member run.Member) (etcd.Access, error)
}

// newControl returns the one for the real machine of a member.
func newControl(m host.Machine, member run.Member) control {
	if member.Method == run.Units {
		return units{kubelet{files{m}}}
	}
	return &staticPods{kubelet: kubelet{files{m}}, manifests: path.Dir(member.File), parked: parkDir}
}

// kubelet is a service of systemd, whatever the components are.
type kubelet struct{ files }

func (k kubelet) restartKubelet(ctx context.Context) error {
	return k.do(ctx, "systemctl", "try-restart", "kubelet.service")
}

func (k kubelet) stopKubelet(ctx context.Context) error {
	return k.do(ctx, "systemctl", "stop", "kubelet.service")
}

func (k kubelet) kubeletRuns(ctx context.Context) (bool, error) {
	state, err := k.text(ctx, "systemctl", "show", "--value", "--property=ActiveState", "kubelet.service")
	state = strings.TrimSpace(state)
	return state != "inactive" && state != "failed", err
}

func (k kubelet) resumeKubelet(ctx context.Context) error {
	return k.do(ctx, "systemctl", "start", "--no-block", "kubelet.service")
}

func (k kubelet) startKubelet(ctx context.Context) error {
	if err := k.do(ctx, "systemctl", "daemon-reload"); err != nil {
		return err
	}
	return k.do(ctx, "systemctl", "enable", "--now", "kubelet.service")
}

// staticPods are components whose manifests the kubelet looks at, in one directory. A
// stopped one has its manifest parked in another one of the same file system.
type staticPods struct {
	kubelet
	manifests, parked string
}

func (s *staticPods) paths(component string) (manifest, parked string) {
	return path.Join(s.manifests, component+".yaml"), path.Join(s.parked, component+".yaml")
}

func (s *staticPods) stop(ctx context.Context, component string) error {
	manifest, parked := s.paths(component)
	return s.move(ctx, manifest, parked)
}

func (s *staticPods) start(ctx context.Context, component string) error {
	manifest, parked := s.paths(component)
	return s.move(ctx, parked, manifest)
}

func (s *staticPods) end(ctx context.Context, component string) error {
	containers, _, err := kubeadm.Running(ctx, s.m)
	if c, found := containers[component]; found && err == nil {
		err = kubeadm.Kill(ctx, s.m, c)
	}
	return err
}

func (s *staticPods) running(ctx context.Context) (map[string]bool, error) {
	containers, listed, err := kubeadm.Running(ctx, s.m)
	if err != nil {
		return nil, err
	}
	if !listed {
		return nil, hint.Wrap(fmt.Errorf("the container runtime cannot be asked what runs"), "install crictl (package cri-tools) on the machine")
	}
	found := map[string]bool{}
	for name := range containers {
		found[name] = true
	}
	return found, nil
}

func (s *staticPods) has(ctx context.Context, component string) (bool, error) {
	manifest, parked := s.paths(component)
	for _, p := range []string{manifest, parked} {
		if there, err := s.exists(ctx, p); there || err != nil {
			return there, err
		}
	}
	return false, nil
}

func (s *staticPods) reach(ctx context.Context, member run.Member) (a etcd.Access, err error) {
	for _, dir := range []string{s.manifests, s.parked} {
		if a, err = etcd.LocateBy(ctx, s.m, path.Join(dir, apiServer+".yaml"), patience); !errors.Is(err, etcd.ErrNoControlPlane) {
			break
		}
	}
	a.Endpoints = []string{endpoint(member)}
	return a, err
}

// units are components that are services of systemd.
type units struct{ kubelet }

func (u units) stop(ctx context.Context, component string) error {
	return u.do(ctx, "systemctl", "stop", "--no-block", component+".service")
}

// start does not wait: a member of etcd says that it is up when others are, too.
func (u units) start(ctx context.Context, component string) error {
	return u.do(ctx, "systemctl", "start", "--no-block", component+".service")
}

func (u units) end(ctx context.Context, component string) error {
	return u.do(ctx, "systemctl", "kill", "--signal=SIGKILL", component+".service")
}

func (u units) running(ctx context.Context) (map[string]bool, error) {
	found := map[string]bool{}
	for _, component := range []string{etcdName, apiServer, controllerManager, scheduler} {
		state, err := u.property(ctx, component, "ActiveState")
		if err != nil {
			return nil, err
		}
		found[component] = state != "inactive" && state != "failed"
	}
	return found, nil
}

func (u units) has(ctx context.Context, component string) (bool, error) {
	state, err := u.property(ctx, component, "LoadState")
	return state == "loaded", err
}

// command is what a unit executes, as words, and its environment as far as it stands in
// the unit.
func (u units) command(ctx context.Context, component string) (argv []string, env map[string]string, err error) {
	text, err := u.property(ctx, component, "ExecStart")
	if err != nil {
		return nil, nil, err
	}
	_, words, found := strings.Cut(text, "argv[]=")
	words, _, ended := strings.Cut(words, " ;")
	if !found || !ended {
		return nil, nil, fmt.Errorf("systemd says of %s.service that it executes %q", component, text)
	}
	variables, err := u.property(ctx, component, "Environment")
	env = map[string]string{}
	for v := range strings.FieldsSeq(variables) {
		name, value, _ := strings.Cut(v, "=")
		env[name] = value
	}
	return strings.Fields(words), env, err
}

// property is one of systemctl show.
func (u units) property(ctx context.Context, component, name string) (string, error) {
	text, err := u.text(ctx, "systemctl", "show", "--value", "--property="+name, component+".service")
	return strings.TrimSpace(text), err
}

func (u units) reach(ctx context.Context, member run.Member) (etcd.Access, error) {
	argv, _, err := u.command(ctx, apiServer)
	if err != nil {
		return etcd.Access{}, err
	}
	a, err := etcd.ByFlags(ctx, u.m, flagsOf(argv), patience)
	a.Endpoints = []string{endpoint(member)}
	return a, err
}
