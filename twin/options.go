// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package twin

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation"

	"refit.dev/refit/internal/hint"
	"refit.dev/refit/twin/scenario"
)

// DefaultName is the name of a twin that was given none.
const DefaultName = "default"

// maxNodes is what the pod address plan has room for, see nodeCIDR.
const maxNodes = 5000

// Options say what a twin shall be. The zero value is a cluster of three empty
// nodes whose pods are Ready and gone at once.
type Options struct {
	Name string `json:"-"` // DNS label; DefaultName if empty
	// StateDir is where twins/NAME is made; the user's state directory if empty.
	StateDir string `json:"-"`
	// Tied twins end when the process that started them does, however it does.
	Tied bool `json:"-"`
	// Wait makes Up wait until the workloads of the scenario are Ready.
	Wait bool `json:"-"`

	// Nodes and Zones are what the scenario asks for if 0, else 3 nodes and a
	// zone for each three nodes at most.
	Nodes int `json:"nodes"`
	Zones int `json:"zones"`
	// Kubernetes is the minor version to behave as, "1.34" to "1.37"; the newest if empty.
	Kubernetes string `json:"kubernetes"`
	// Scenario is a name (see scenario.Names) or the path of a file of manifests; none if empty.
	Scenario string `json:"scenario,omitempty"`

	// NodeCPU, NodeMemory and NodePods are the allocatable resources of each
	// node; "4", "16Gi" and 110 if empty.
	NodeCPU    string `json:"nodeCPU"`
	NodeMemory string `json:"nodeMemory"`
	NodePods   int    `json:"nodePods"`

	// PodReady is the time from scheduled to Ready, PodTermination from deleted
	// to gone, JobComplete from Ready to Succeeded, VolumeDetach from a
	// volume's release by its pod to its detachment, Reboot a machine's time
	// from NotReady to Ready. At once if 0.
	PodReady       time.Duration `json:"podReady"`
	PodTermination time.Duration `json:"podTermination"`
	JobComplete    time.Duration `json:"jobComplete"`
	VolumeDetach   time.Duration `json:"volumeDetach"`
	Reboot         time.Duration `json:"reboot"`

	// The clocks by which the control plane gives a lost node up, see clocks.go.
	// Each is the component's default if 0.

	// NodeLease is how long the lease of a node holds, whole seconds; its kubelet renews
	// it each quarter of that. (nodeLeaseDurationSeconds of KubeletConfiguration, 40 s)
	NodeLease time.Duration `json:"nodeLease,omitempty"`
	// NodeMonitorGracePeriod is how long a node may be silent until it is taken for
	// lost. (kube-controller-manager's flag of that name, 50 s)
	NodeMonitorGracePeriod time.Duration `json:"nodeMonitorGracePeriod,omitempty"`
	// DefaultToleration is how long pods that do not say so stay bound to a node
	// that is not ready or unreachable, whole seconds. (kube-apiserver's
	// default-not-ready-toleration-seconds and default-unreachable-toleration-seconds, 300 s)
	DefaultToleration time.Duration `json:"defaultToleration,omitempty"`

	// StaticPods shows the control plane as static pods of the first node, as a
	// cluster that kubeadm has made does: with them its settings can be read.
	StaticPods bool `json:"staticPods,omitempty"`

	// More arguments for the control plane, which override the twin's own.
	APIServerArgs         []string `json:"apiServerArgs,omitempty"`
	ControllerManagerArgs []string `json:"controllerManagerArgs,omitempty"`
	SchedulerArgs         []string `json:"schedulerArgs,omitempty"`

	// ScenarioSum tells whether the scenario's file has changed since; it is
	// computed, what a caller sets is ignored.
	ScenarioSum string `json:"scenarioSum,omitempty"`
}

// ErrInvalid is what the error is when the options themselves are at fault.
var ErrInvalid = errors.New("invalid options")

// invalidError marks an error as ErrInvalid without changing its text.
type invalidError struct{ error }

func (e invalidError) Unwrap() error        { return e.error }
func (e invalidError) Is(target error) bool { return target == ErrInvalid }

// release is a minor version that a twin can behave as.
type release struct {
	Minor   string
	Kubelet string // what its nodes report: the newest patch release of the minor
}

// releases are those that the control plane of this version can emulate, oldest first.
func releases() []release {
	return []release{
		{"1.34", "v1.34.4"},
		{"1.35", "v1.35.4"},
		{"1.36", "v1.36.3"},
		{"1.37", "v1.37.2"},
	}
}

// Versions are the values of Options.Kubernetes, oldest first.
func Versions() []string {
	var out []string
	for _, r := range releases() {
		out = append(out, r.Minor)
	}
	return out
}

func releaseOf(minor string) release {
	all := releases()
	if i := slices.IndexFunc(all, func(r release) bool { return r.Minor == minor }); i >= 0 {
		return all[i]
	}
	return all[len(all)-1]
}

// complete checks o, loads the scenario and fills in what was left out.
func (o Options) complete() (Options, *scenario.Scenario, error) {
	if o.Name == "" {
		o.Name = DefaultName
	}
	if err := validName(o.Name); err != nil {
		return o, nil, err
	}
	if o.Kubernetes == "" {
		o.Kubernetes = Versions()[len(Versions())-1]
	}
	o.Kubernetes = strings.TrimPrefix(o.Kubernetes, "v")
	for _, args := range []*[]string{&o.APIServerArgs, &o.ControllerManagerArgs, &o.SchedulerArgs} {
		if len(*args) == 0 {
			*args = nil // as it is read back from the record
		}
	}
	if !slices.Contains(Versions(), o.Kubernetes) {
		return o, nil, fmt.Errorf("kubernetes version %q: a twin can be one of %s", o.Kubernetes, strings.Join(Versions(), ", "))
	}
	for what, d := range map[string]time.Duration{
		"time until a pod is ready": o.PodReady, "time of a pod's termination": o.PodTermination,
		"time until a job completes": o.JobComplete, "time of a volume's detachment": o.VolumeDetach, "time of a reboot": o.Reboot,
	} {
		if d < 0 {
			return o, nil, fmt.Errorf("%s is %s: it cannot be negative", what, d)
		}
	}
	if err := o.checkClocks(); err != nil {
		return o, nil, err
	}
	sc, err := o.loadScenario()
	if err != nil {
		return o, nil, err
	}
	if err := o.completeNodes(sc); err != nil {
		return o, nil, err
	}
	return o, sc, nil
}

func (o *Options) loadScenario() (*scenario.Scenario, error) {
	o.ScenarioSum = ""
	if o.Scenario == "" {
		return nil, nil
	}
	sc, err := scenario.Load(o.Scenario)
	if err != nil {
		return nil, err
	}
	o.ScenarioSum = sc.Sum()
	return sc, nil
}

func (o *Options) completeNodes(sc *scenario.Scenario) error {
	if o.Nodes < 0 || o.Nodes > maxNodes {
		return fmt.Errorf("%d nodes: a twin has 1 to %d", o.Nodes, maxNodes)
	}
	if o.Nodes == 0 && sc != nil {
		o.Nodes = sc.Nodes
	}
	if o.Nodes == 0 {
		o.Nodes = 3
	}
	if o.Zones == 0 && sc != nil {
		o.Zones = min(sc.Zones, o.Nodes)
	}
	if o.Zones == 0 {
		o.Zones = min(3, o.Nodes)
	}
	if o.Zones < 0 || o.Zones > o.Nodes {
		return fmt.Errorf("%d zones for %d nodes: each zone needs a node", o.Zones, o.Nodes)
	}
	if o.NodeCPU == "" {
		o.NodeCPU = "4"
	}
	if o.NodeMemory == "" {
		o.NodeMemory = "16Gi"
	}
	if o.NodePods == 0 {
		o.NodePods = 110
	}
	if o.NodePods < 0 || o.NodePods > 250 {
		return fmt.Errorf("%d pods for each node: the address range of a node has room for 250", o.NodePods)
	}
	for what, q := range map[string]string{"CPU": o.NodeCPU, "memory": o.NodeMemory} {
		if v, err := resource.ParseQuantity(q); err != nil || v.Sign() <= 0 {
			return fmt.Errorf("%s of a node is %q: want a quantity such as 4 or 16Gi", what, q)
		}
	}
	return nil
}

// validName wants a DNS label: the name becomes a directory and part of a kubeconfig context.
func validName(name string) error {
	if problems := validation.IsDNS1123Label(name); len(problems) > 0 {
		return hint.Wrap(fmt.Errorf("twin name %q: %s", name, strings.Join(problems, "; ")),
			"use lower case letters, digits and dashes, for example %s", DefaultName)
	}
	return nil
}

// differences names the options in which want is another twin than have.
func differences(have, want Options) []string {
	var out []string
	h, w := reflect.ValueOf(have), reflect.ValueOf(want)
	for i := range h.NumField() {
		field := h.Type().Field(i)
		if field.Tag.Get("json") == "-" || reflect.DeepEqual(h.Field(i).Interface(), w.Field(i).Interface()) {
			continue
		}
		if field.Name == "ScenarioSum" {
			if have.Scenario == want.Scenario {
				out = append(out, "the contents of "+want.Scenario)
			}
			continue
		}
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		out = append(out, fmt.Sprintf("%s is %s, not %s", name, shown(h.Field(i)), shown(w.Field(i))))
	}
	return out
}

// shown is the value of an option, or none where nothing could be read.
func shown(v reflect.Value) string {
	if text := fmt.Sprint(v.Interface()); text != "" && text != "[]" {
		return text
	}
	return "none"
}
