// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package reconfigure

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/clock"

	"refit.dev/refit/cluster"
	"refit.dev/refit/host"
	"refit.dev/refit/internal/hint"
	"refit.dev/refit/kubeadm"
)

// Where kubeadm keeps its configuration
// (https://kubernetes.io/docs/reference/setup-tools/kubeadm/implementation-details/).
const (
	ConfigMap = "kubeadm-config"
	ConfigKey = "ClusterConfiguration"
)

// controlPlaneLabel is on the nodes of the control plane (kubeadm's constants).
const controlPlaneLabel = "node-role.kubernetes.io/control-plane"

// Reconfigurer is what the work needs.
type Reconfigurer struct {
	Client kubernetes.Interface
	// Machine returns the machine of a node. Whoever made it closes it.
	Machine func(node *corev1.Node) (host.Machine, error)
	Clock   clock.Clock
	// Args are the flags that kube-apiserver is to have.
	Args []kubeadm.Arg
	// Patches is the directory on the machines with patches of manifests (kubeadm's
	// --patches); "" if there is none.
	Patches string
}

// Change is a text as it is, and as it is to be.
type Change struct{ Before, After string }

// Needed tells whether there is anything to change.
func (c Change) Needed() bool { return c.Before != c.After }

// Plan is what would be changed.
type Plan struct {
	// Config is the ClusterConfiguration.
	Config Change
	// Servers are the API servers, in the order of their nodes' names.
	Servers []*Server

	by   *Reconfigurer
	kept *corev1.ConfigMap
}

// Server is one API server.
type Server struct {
	Node     string
	Manifest Change
	// Missing is what is missing until the process runs as it is to; "" if nothing is.
	Missing string
	// Odd tells that the manifests differ in more than the flags: somebody has changed the
	// one on the machine by hand, and that would be lost.
	Odd bool

	pod     string
	machine host.Machine
	seen    kubeadm.APIServer
}

// Done tells whether the API server is as it is to be.
func (s *Server) Done() bool { return !s.Manifest.Needed() && s.Missing == "" }

// Done tells whether nothing is left to do.
func (p *Plan) Done() bool {
	for _, s := range p.Servers {
		if !s.Done() {
			return false
		}
	}
	return !p.Config.Needed()
}

// Odd are the nodes whose manifest somebody has changed by hand.
func (p *Plan) Odd() []string {
	var nodes []string
	for _, s := range p.Servers {
		if s.Odd {
			nodes = append(nodes, s.Node)
		}
	}
	return nodes
}

// BlockedError says why nothing can be done; nothing was changed.
type BlockedError struct{ Err error }

func (e *BlockedError) Error() string { return e.Err.Error() }
func (e *BlockedError) Unwrap() error { return e.Err }

func blocked(advice, format string, args ...any) error {
	return hint.Wrap(&BlockedError{fmt.Errorf(format, args...)}, "%s", advice)
}

// Plan looks at the cluster and at the machines of its control plane. It changes nothing.
func (r *Reconfigurer) Plan(ctx context.Context) (*Plan, error) {
	p := &Plan{by: r}
	if err := p.readConfig(ctx); err != nil {
		return nil, err
	}
	snapshot, err := cluster.Read(ctx, r.Client, cluster.WithKinds(cluster.KindNode, cluster.KindPod))
	if err != nil {
		return nil, err
	}
	pods := map[string]string{} // of the API servers, by node
	for _, process := range cluster.ControlPlaneFlags(snapshot.Pods) {
		if process.Component == cluster.APIServer && process.Pod.Mirror() {
			pods[process.Pod.Spec.NodeName] = process.Pod.Name
		}
	}
	for _, n := range snapshot.Nodes { // sorted by name
		_, labelled := n.Labels[controlPlaneLabel]
		pod, found := pods[n.Name]
		switch {
		case found:
			s, err := r.look(ctx, n.Node, pod, p.Config.After)
			if err != nil {
				return nil, fmt.Errorf("node %s: %w", n.Name, err)
			}
			p.Servers = append(p.Servers, s)
		case labelled:
			return nil, blocked("bring its API server back, or delete the Node if the machine is gone",
				"node %s is of the control plane, and no API server of it is to be seen", n.Name)
		}
	}
	if len(p.Servers) == 0 {
		return nil, blocked("its flags are changed where its control plane is run", "no API server runs as a static pod of this cluster")
	}
	return p, nil
}

func (p *Plan) readConfig(ctx context.Context) error {
	var err error
	p.kept, err = p.by.Client.CoreV1().ConfigMaps(metav1.NamespaceSystem).Get(ctx, ConfigMap, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return blocked("refit eviction-timeout set DURATION without --cluster tells what to change", "this is no cluster of kubeadm: it has no ConfigMap %s/%s", metav1.NamespaceSystem, ConfigMap)
	}
	if err != nil {
		return fmt.Errorf("read kubeadm's configuration: %w", err)
	}
	p.Config.Before = p.kept.Data[ConfigKey]
	if p.Config.After, err = kubeadm.SetAPIServerArgs(p.Config.Before, p.by.Args); err != nil {
		return fmt.Errorf("ConfigMap %s/%s: %w", metav1.NamespaceSystem, ConfigMap, err)
	}
	return nil
}

// look looks at the API server of a node.
func (r *Reconfigurer) look(ctx context.Context, node *corev1.Node, pod, config string) (*Server, error) {
	machine, err := r.Machine(node)
	if err != nil {
		return nil, err
	}
	seen, err := kubeadm.ObserveAPIServer(ctx, machine)
	if err != nil {
		return nil, err
	}
	s := &Server{Node: node.Name, pod: pod, machine: machine, seen: seen, Missing: seen.Runs(r.Args)}
	s.Manifest.Before = seen.Manifest
	if s.Manifest.After, err = seen.Render(ctx, machine, config, node.Name, r.Patches); err != nil {
		return nil, err
	}
	same, err := kubeadm.SameBut(s.Manifest.Before, s.Manifest.After, r.Args)
	if err != nil {
		return nil, err
	}
	if s.Odd = !same; same && seen.Has(r.Args) {
		s.Manifest.After = s.Manifest.Before // it is written differently, and says the same
	}
	return s, nil
}

var errChanged = errors.New("it was changed meanwhile")
