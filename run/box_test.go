// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"

	"refit.dev/refit/host"
)

// errDead is what everything answers once refit was killed.
var errDead = errors.New("refit was killed")

// boxes are the machines of a fakeCluster, as package kubeadm sees them: Debian, kubeadm's
// packages, crictl. What was done to them outlives refit. After the command number kill -
// the first is 1 - refit is dead: nothing more is heard of anything.
type boxes struct {
	c *fakeCluster

	mu       sync.Mutex
	all      map[string]*box
	commands int
	kill     int
	die      func()
}

func newBoxes(c *fakeCluster, controlPlane string) *boxes {
	bs := &boxes{c: c, all: map[string]*box{}}
	for name, n := range c.nodes {
		n.Status.NodeInfo.KubeletVersion = oldVersion
		b := &box{
			boxes: bs, name: name, lists: 36, kubelet: oldVersion, images: oldVersion, units: map[string]string{}, ran: map[string]int{},
			packages: map[string]string{}, held: map[string]bool{},
			files: map[string]string{
				"/etc/os-release": "PRETTY_NAME=\"Debian GNU/Linux 12\"\nID=debian\n",
				sourcesFile:       "deb https://pkgs.k8s.io/core:/stable:/v1.36/deb/ /\n",
			},
		}
		for _, p := range []string{"kubeadm", "kubelet", "kubectl"} {
			b.packages[p], b.held[p] = oldVersion, true
		}
		if name == controlPlane {
			b.plane = oldVersion
		}
		bs.all[name] = b
	}
	return bs
}

func (bs *boxes) reach(node *corev1.Node, _ string) (host.Machine, error) {
	return bs.all[node.Name], nil
}

// revive ends the death of refit: another process looks at the machines. What had been
// started there by itself has ended meanwhile, or goes on.
func (bs *boxes) revive(ended bool) {
	bs.mu.Lock()
	defer bs.mu.Unlock()
	bs.kill, bs.commands = 0, 0
	for _, b := range bs.all {
		for unit, state := range b.units {
			if ended && state == "running" {
				b.finish(unit)
			}
		}
	}
}

const sourcesFile = "/etc/apt/sources.list.d/kubernetes.list"

// box is one machine.
type box struct {
	*boxes
	name     string
	packages map[string]string // their versions
	held     map[string]bool
	lists    int    // the minor of apt's lists
	archives string // the version of the packages in its cache
	kubelet  string // that runs
	plane    string // the version of the static pods; "" on a worker
	images   string
	files    map[string]string
	units    map[string]string // running or ended
	ran      map[string]int    // how often what must not be repeated was done
}

func (b *box) Exec(_ context.Context, argv []string, opts host.ExecOptions) (host.Result, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.command(); err != nil {
		return host.Result{}, err
	}
	text, code := b.answer(argv, strings.Join(argv, " "))
	if b.kill > 0 && b.commands == b.kill {
		b.die() // the command was run, and nobody hears of it
		return host.Result{}, errDead
	}
	if opts.Output != nil && text != "" {
		opts.Output(text)
	}
	return host.Result{Code: code, Stdout: []byte(text)}, nil
}

// command counts what is asked of the machines.
func (b *box) command() error {
	if b.commands++; b.kill > 0 && b.commands > b.kill {
		return fmt.Errorf("%w: %w", host.ErrNotStarted, errDead)
	}
	return nil
}

func (b *box) ReadFile(_ context.Context, path string) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.command(); err != nil {
		return nil, err
	}
	if component, found := strings.CutPrefix(path, "/etc/kubernetes/manifests/"); found && b.plane != "" {
		component = strings.TrimSuffix(component, ".yaml")
		return fmt.Appendf(nil, "kind: Pod\nmetadata: {name: %s}\nspec: {containers: [{image: '%s', command: [%s]}]}\n", component, b.image(component), component), nil
	}
	text, found := b.files[path]
	if !found {
		return nil, &fs.PathError{Op: "read", Path: path, Err: fs.ErrNotExist}
	}
	return []byte(text), nil
}

func (b *box) WriteFile(_ context.Context, path string, data []byte, _ fs.FileMode) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.command(); err != nil {
		return err
	}
	b.files[path] = string(data)
	return nil
}

func (b *box) image(component string) string {
	if component == "etcd" {
		return "registry.k8s.io/etcd:3.6.8-0"
	}
	return "registry.k8s.io/" + component + ":" + b.plane
}

func planeComponents() []string {
	return []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"}
}

// answer does a command.
func (b *box) answer(argv []string, line string) (text string, code int) {
	has := func(prefix string) bool { return strings.HasPrefix(line, prefix) }
	switch {
	case has("find /usr/bin/apt-get"):
		return "/usr/bin/apt-get\n", 0
	case has("find /var/cache/apt"):
		return fmt.Sprintf("kubeadm_%[1]s-1.1_amd64.deb\nkubelet_%[1]s-1.1_amd64.deb\nkubectl_%[1]s-1.1_amd64.deb\n", strings.TrimPrefix(b.archives, "v")), 0
	case has("find /etc/apt"):
		return "f " + sourcesFile + "\n", 0
	case has("find /etc/kubernetes/manifests") && b.plane != "":
		for _, component := range planeComponents() {
			text += "1795438284.0 /etc/kubernetes/manifests/" + component + ".yaml\n"
		}
		return text, 0
	case has("find "):
		return "", 1
	case has("dpkg-query"):
		for _, p := range []string{"kubeadm", "kubelet", "kubectl"} {
			want := "install"
			if b.held[p] {
				want = "hold"
			}
			text += fmt.Sprintf("%s\t%s-1.1\tamd64\t%s\tinstalled\n", p, b.packages[p][1:], want)
		}
		return text, 0
	case has("apt-cache --option"):
		return offered(37), 0
	case has("apt-cache"):
		return offered(b.lists), 0
	case has("mktemp"):
		return "/tmp/refit-apt.0123456789\n", 0
	case has("kubelet --version"):
		return "Kubernetes " + b.packages["kubelet"] + "\n", 0
	case has("/proc/700/exe"):
		return "Kubernetes " + b.kubelet + "\n", 0
	case has("readlink"):
		if b.kubelet != b.packages["kubelet"] {
			return "/usr/bin/kubelet (deleted)\n", 0
		}
		return "/usr/bin/kubelet\n", 0
	case has("ps "):
		return "1000\n", 0
	case has("crictl") && strings.HasSuffix(line, "ps -o json"):
		return b.running(), 0
	case has("crictl") && strings.HasSuffix(line, "images -o json"):
		tags, err := json.Marshal(wanted(b.images))
		if err != nil {
			panic(err)
		}
		return `{"images": [{"repoTags": ` + string(tags) + `}]}`, 0
	case has("kubeadm config images list"):
		return strings.Join(wanted(strings.TrimPrefix(argv[4], "--kubernetes-version=")), "\n") + "\n", 0
	case has("stat "):
		return "644\n", 0
	case has("systemctl show") && strings.HasSuffix(line, "kubelet.service"):
		return "ActiveState=active\nSubState=running\nMainPID=700\nNRestarts=0\nNeedDaemonReload=no\n", 0
	case has("systemctl restart kubelet"):
		b.kubelet = b.packages["kubelet"]
		b.ran["restart"]++
		b.c.change(func() {
			n := b.c.nodes[b.name].DeepCopy()
			n.Status.NodeInfo.KubeletVersion = b.kubelet
			b.c.nodes[b.name] = n
		})
		return "", 0
	case has("apt-mark hold"):
		for _, p := range argv[2:] {
			b.held[p] = true
		}
		return "", 0
	case has("crictl"), has("ctr"):
		return "", 127
	}
	return b.unit(argv, line)
}

// unit answers what is asked about units, and dpkg's and the shell's small things.
func (b *box) unit(argv []string, line string) (text string, code int) {
	name := strings.TrimSuffix(argv[len(argv)-1], ".service")
	switch {
	case strings.HasPrefix(line, "systemctl show"):
		switch b.units[name] {
		case "running":
			return "LoadState=loaded\nActiveState=active\nSubState=running\nResult=success\nExecMainCode=0\nExecMainStatus=0\nMainPID=900\n", 0
		case "ended":
			return "LoadState=loaded\nActiveState=active\nSubState=exited\nResult=success\nExecMainCode=1\nExecMainStatus=0\nMainPID=0\n", 0
		}
		return "LoadState=not-found\nActiveState=inactive\nSubState=dead\n", 0
	case strings.HasPrefix(line, "systemctl stop"), strings.HasPrefix(line, "systemctl reset-failed"):
		delete(b.units, name)
		return "", 0
	case strings.HasPrefix(line, "test -e"):
		return "", 1
	case strings.HasPrefix(line, "systemd-run"):
		name = strings.TrimSuffix(strings.TrimPrefix(argv[3], "--unit="), ".service")
		b.units[name] = "running"
		return "", 0
	case strings.HasPrefix(line, "timeout"): // who follows it hears of its end
		for unit, state := range b.units {
			if state == "running" {
				b.finish(unit)
			}
		}
		return "working\n", 0
	}
	return "", 0
}

// finish is what a unit brings about.
func (b *box) finish(unit string) {
	b.units[unit] = "ended"
	step := strings.TrimSuffix(unit, "-"+newVersion)
	step = step[strings.LastIndexByte(step, '-')+1:]
	b.ran[step]++
	switch step {
	case "lists":
		b.lists = 37
	case "download":
		b.archives = newVersion
	case "images":
		b.images = newVersion
	case "kubeadm":
		b.packages["kubeadm"] = newVersion
	case "kubelet":
		b.packages["kubelet"], b.packages["kubectl"] = newVersion, newVersion
	case "upgrade":
		if b.plane != "" {
			b.plane = newVersion
		}
	}
}

func offered(minor int) string {
	version := map[int]string{36: "1.36.3", 37: "1.37.2"}[minor]
	text := ""
	for _, p := range []string{"kubeadm", "kubelet", "kubectl"} {
		text += fmt.Sprintf(" %s | %s-1.1 | https://pkgs.k8s.io/core:/stable:/v1.%d/deb  Packages\n", p, version, minor)
	}
	return text
}

func wanted(version string) []string {
	return []string{"registry.k8s.io/kube-proxy:" + version, "registry.k8s.io/kube-apiserver:" + version, "registry.k8s.io/pause:3.10.2"}
}

// running is what crictl says of the static pods.
func (b *box) running() string {
	var list struct {
		Containers []map[string]any `json:"containers"`
	}
	if b.plane != "" {
		for _, component := range planeComponents() {
			list.Containers = append(list.Containers, map[string]any{
				"metadata": map[string]any{"name": component}, "image": map[string]any{"image": b.image(component)}, "state": "CONTAINER_RUNNING",
				"createdAt": "1795438100123456789", "labels": map[string]string{"io.kubernetes.pod.namespace": "kube-system"},
			})
		}
	}
	text, err := json.Marshal(list)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// wrong says what of the machine is not as an upgrade leaves it.
func (b *box) wrong() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var list []string
	for _, p := range []string{"kubeadm", "kubelet", "kubectl"} {
		if b.packages[p] != newVersion || !b.held[p] {
			list = append(list, fmt.Sprintf("%s is %s, held %t", p, b.packages[p], b.held[p]))
		}
	}
	if b.kubelet != newVersion || b.plane != "" && b.plane != newVersion {
		list = append(list, fmt.Sprintf("the kubelet is %s, the control plane %s", b.kubelet, b.plane))
	}
	for _, once := range []string{"kubeadm", "upgrade", "kubelet", "restart"} {
		if n := b.ran[once]; n != 1 {
			list = append(list, fmt.Sprintf("%s was done %d times", once, n))
		}
	}
	slices.Sort(list)
	return list
}

func (b *box) Run(context.Context, string, host.Output) error { return nil }
func (b *box) Reboot(context.Context, string) error           { return host.ErrNoReboot }
func (b *box) BootID(context.Context) (string, error)         { return "boot", nil }
func (b *box) Close() error                                   { return nil }
func (b *box) Dial(context.Context, string) (net.Conn, error) { return nil, host.ErrNoForwarding }
