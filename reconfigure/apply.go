// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package reconfigure

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"refit.dev/refit/cluster"
	"refit.dev/refit/internal/hint"
	"refit.dev/refit/kubeadm"
)

const (
	// patience is how long an API server may take to run with its flags and be ready:
	// kubeadm itself waits so long for a static pod.
	patience = 5 * time.Minute
	// lookAgain is how long to wait between two looks at one that starts.
	lookAgain = 2 * time.Second
)

// repeat is what to do about everything that stops the work in the middle.
const repeat = "once that is mended, run the same command again: it looks at every control plane and does what is left"

// SetConfig writes the ClusterConfiguration, unless it says what it is to say already;
// if rehearse, the API server is only asked whether it would be written.
func (p *Plan) SetConfig(ctx context.Context, rehearse bool) error {
	if !p.Config.Needed() {
		return nil
	}
	wanted := p.kept.DeepCopy() // with its resource version: what was changed meanwhile is not lost
	wanted.Data[ConfigKey] = p.Config.After
	var options metav1.UpdateOptions
	if rehearse {
		options.DryRun = []string{metav1.DryRunAll}
	}
	_, err := p.by.Client.CoreV1().ConfigMaps(metav1.NamespaceSystem).Update(ctx, wanted, options)
	if apierrors.IsConflict(err) {
		err = errChanged
	}
	if err != nil {
		return hint.Wrap(fmt.Errorf("write ConfigMap %s/%s: %w", metav1.NamespaceSystem, ConfigMap, err), "nothing was changed; run the same command again")
	}
	return nil
}

// SetServer brings one API server of the Plan to its manifest and waits until it runs with
// its flags and is ready. The others have to be ready before, so that never two are away.
func (p *Plan) SetServer(ctx context.Context, s *Server) error {
	if s.Done() {
		return nil
	}
	kept := ""
	if s.Manifest.Needed() {
		if err := p.others(ctx, s); err != nil {
			return hint.Wrap(fmt.Errorf("kube-apiserver on %s was left as it is: %w", s.Node, err), repeat)
		}
		now, err := kubeadm.ObserveAPIServer(ctx, s.machine)
		if err == nil && now.Manifest != s.Manifest.Before {
			err = errChanged
		}
		if err != nil {
			return hint.Wrap(fmt.Errorf("look at the manifest of kube-apiserver on %s: %w", s.Node, err), repeat)
		}
		if kept, err = s.seen.Replace(ctx, s.machine, s.Manifest.After); err != nil {
			return hint.Wrap(fmt.Errorf("replace the manifest of kube-apiserver on %s: %w", s.Node, err), repeat)
		}
	}
	if err := p.await(ctx, s); err != nil {
		advice := "look at its log on that machine (crictl logs, or /var/log/containers); " + repeat
		if kept != "" {
			advice = "the manifest of before is " + kept + " on that machine: moved back, the API server is what it was; " + repeat
		}
		return hint.Wrap(fmt.Errorf("kube-apiserver on %s does not run as it is to: %w", s.Node, err), "%s", advice)
	}
	return nil
}

// others fails if another API server than that of s is not ready.
func (p *Plan) others(ctx context.Context, s *Server) error {
	for _, other := range p.Servers {
		if other == s {
			continue
		}
		pod, err := p.podOf(ctx, other)
		if err != nil {
			return err
		}
		if !ready(pod) {
			return fmt.Errorf("kube-apiserver on %s is not ready, and there would be one less", other.Node)
		}
	}
	return nil
}

func (p *Plan) podOf(ctx context.Context, s *Server) (*corev1.Pod, error) {
	pod, err := p.by.Client.CoreV1().Pods(metav1.NamespaceSystem).Get(ctx, s.pod, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("look at kube-apiserver on %s: %w", s.Node, err)
	}
	return pod, nil
}

func ready(pod *corev1.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// await waits until the process runs with the flags, and until the cluster says that its
// pod has them and is ready, which the kubelet finds by asking /readyz. What fails
// meanwhile passes: the API server that is asked may be the one that starts.
func (p *Plan) await(ctx context.Context, s *Server) error {
	limit := p.by.Clock.NewTimer(patience)
	defer limit.Stop()
	for {
		missing := p.missing(ctx, s)
		if missing == nil {
			s.Manifest.Before, s.Missing = s.Manifest.After, ""
			return nil
		}
		again := p.by.Clock.NewTimer(lookAgain)
		select {
		case <-again.C():
		case <-limit.C():
			again.Stop()
			return fmt.Errorf("after %s %w", patience, missing)
		case <-ctx.Done():
			again.Stop()
			return fmt.Errorf("%w; so far %w", context.Cause(ctx), missing)
		}
	}
}

// missing says what is missing until the API server of s is as it is to be; nil if nothing is.
func (p *Plan) missing(ctx context.Context, s *Server) error {
	now, err := kubeadm.ObserveAPIServer(ctx, s.machine)
	if err != nil {
		return err
	}
	if text := now.Runs(p.by.Args); text != "" {
		return errors.New(text)
	}
	pod, err := p.podOf(ctx, s)
	if err != nil {
		return err
	}
	for _, process := range cluster.ControlPlaneFlags([]*cluster.Pod{{Pod: pod}}) {
		for _, a := range p.by.Args {
			if process.Flags[a.Name] != a.Value {
				return fmt.Errorf("pod %s does not have %s yet", s.pod, a)
			}
		}
	}
	if !ready(pod) {
		return fmt.Errorf("pod %s is not ready", s.pod)
	}
	return nil
}
