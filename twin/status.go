// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package twin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// State is how a twin is as a whole.
type State string

const (
	Running  State = "running"
	Starting State = "starting" // its processes run, its API server does not answer yet
	Stopped  State = "stopped"  // its processes are gone; Up starts them again
	HalfMade State = "half-made"
)

// Status is how a twin is.
type Status struct {
	Name    string        `json:"name"`
	State   State         `json:"state"`
	Version string        `json:"version,omitempty"` // of Kubernetes, as its nodes have it
	Created time.Time     `json:"created,omitzero"`
	Server  string        `json:"server,omitempty"` // URL of the API server
	Dir     string        `json:"dir"`
	Options *Options      `json:"options,omitempty"`
	Parts   []ChildStatus `json:"components,omitempty"`
	// Numbers, if it is running.
	Nodes      int `json:"nodes"`
	NodesReady int `json:"nodesReady"`
	Pods       int `json:"pods"`
	PodsReady  int `json:"podsReady"`
}

// statusDeadline is how long an API server that does not answer is waited for.
const statusDeadline = 5 * time.Second

// Status looks at the twin. A twin that is not well is no error.
func (t *Twin) Status(ctx context.Context) (*Status, error) {
	s := &Status{Name: t.name, Dir: t.dir, State: HalfMade}
	rec, err := t.readRecord()
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, err
	}
	s.Version = releaseOf(rec.Options.Kubernetes).Kubelet
	s.Created, s.Options = rec.Created, &rec.Options
	// The record may tell of ports that were taken when the twin was started again.
	cfg, err := t.RESTConfig()
	if err != nil {
		return nil, err
	}
	s.Server = cfg.Host
	pid, err := t.supervisorPID()
	if err != nil {
		return nil, fmt.Errorf("twin %s: %w", t.name, err)
	}
	if pid == 0 {
		s.State = Stopped
		return s, nil
	}
	s.State = Starting
	if st, err := t.readStatus(); err == nil {
		s.Parts = st.Children
	}
	if err := count(ctx, cfg, s); err == nil {
		s.State = Running
	}
	return s, nil
}

// count fills in the numbers.
func count(ctx context.Context, cfg *rest.Config, s *Status) error {
	cfg.Timeout = statusDeadline
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return err
	}
	// From the API server's cache: a look at a twin should cost it little.
	cached := metav1.ListOptions{ResourceVersion: "0"}
	nodes, err := client.CoreV1().Nodes().List(ctx, cached)
	if err != nil {
		return fmt.Errorf("list nodes: %w", err)
	}
	pods, err := client.CoreV1().Pods("").List(ctx, cached)
	if err != nil {
		return fmt.Errorf("list pods: %w", err)
	}
	s.Nodes, s.Pods = len(nodes.Items), len(pods.Items)
	for _, n := range nodes.Items {
		for _, c := range n.Status.Conditions {
			if c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue {
				s.NodesReady++
			}
		}
	}
	for _, p := range pods.Items {
		for _, c := range p.Status.Conditions {
			if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
				s.PodsReady++
			}
		}
	}
	return nil
}

// Components returns the names of the twin's processes, in the order of their start.
func (t *Twin) Components() []string {
	return []string{"supervisor", "etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok"}
}

// LogTail returns the last lines of a component's log.
func (t *Twin) LogTail(component string) string { return t.tail(component) }
