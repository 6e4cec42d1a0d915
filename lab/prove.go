// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
)

// proofLimit is how long a cluster may take to become what it is to be.
const proofLimit = 10 * time.Minute

// staticPods selects those of kubeadm's control planes.
const staticPods = "tier=control-plane"

// kubectl runs kubectl as the cluster's administrator.
func (l *Lab) kubectl(ctx context.Context, stdin io.Reader, args ...string) (string, error) {
	return command{Argv: append([]string{l.Kubectl(), "--kubeconfig", l.Kubeconfig()}, args...), Stdin: stdin}.run(ctx)
}

// prove returns when the cluster works: every node is Ready, the control plane is too,
// the cluster's DNS and proxies run, and through each worker a Service answers from all workers
// that take pods, by its name too.
func (l *Lab) prove(ctx context.Context, progress Progress) error {
	progress.say("waiting until its nodes are Ready and a Service answers")
	manifest, err := fill("answer.yaml", struct{ Replicas int }{l.record.Options.Workers})
	if err != nil {
		return err
	}
	limit := "--timeout=" + proofLimit.String()
	for _, step := range []struct {
		what  string
		stdin string
		args  []string
	}{
		{"wait until every node is Ready", "", []string{"wait", "--for=condition=Ready", "nodes", "--all", limit}},
		{"apply the manifests of the proof", manifest, []string{"apply", "--filename", "-"}},
		{"wait for the cluster's DNS", "", []string{"--namespace", "kube-system", "rollout", "status", "deployment/coredns", limit}},
		{"wait for the proxies", "", []string{"--namespace", "kube-system", "rollout", "status", "daemonset/kube-proxy", limit}},
		{"wait for the answering pods", "", []string{"--namespace", "refit-lab", "rollout", "status", "deployment/answer", limit}},
		// The kubelet says a while after a component has started that it is Ready.
		{"wait until the control plane is Ready", "", []string{"--namespace", "kube-system", "wait", "--for=condition=Ready", "pods", "--selector", staticPods, limit}},
	} {
		if l.record.Options.Flavour == Scratch && (slices.Contains(step.args, "daemonset/kube-proxy") || slices.Contains(step.args, staticPods)) {
			continue // services there
		}
		if _, err := l.kubectl(ctx, strings.NewReader(step.stdin), step.args...); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
	}
	want, err := l.kubectl(ctx, nil, "--namespace", "refit-lab", "get", "pods", "--selector", "app=answer", "--output",
		`jsonpath={range .items[*]}{.spec.nodeName}{"\n"}{end}`)
	if err != nil {
		return err
	}
	for _, m := range l.Nodes() {
		if m.Role != Worker {
			continue
		}
		err := within(ctx, proofLimit, "wait until the Service answers through "+m.Name, func(ctx context.Context) error {
			return l.answers(ctx, m, strings.Fields(want))
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// AnswerURL is where the answering Service is reached through a machine: GET /
// tells the node and the pod that answered, GET /resolve/NAME what the pod's
// resolver says, GET /slow/DURATION answers after that time.
func (l *Lab) AnswerURL(m Machine) string { return fmt.Sprintf("http://%s:30080", m.Address) }

// answers returns when the Service has answered, through m, from each node in want.
func (l *Lab) answers(ctx context.Context, m Machine, want []string) error {
	missing := map[string]bool{}
	for _, node := range want {
		missing[node] = true
	}
	var last error
	err := poll(ctx, 50*time.Millisecond, func() (bool, error) {
		var said string
		if said, last = get(ctx, l.AnswerURL(m)); last == nil {
			node, _, _ := strings.Cut(said, " ")
			delete(missing, node)
		}
		return len(missing) == 0, nil
	})
	if err == nil {
		err = poll(ctx, 200*time.Millisecond, func() (bool, error) {
			_, last = get(ctx, l.AnswerURL(m)+"/resolve/answer.refit-lab.svc.cluster.local")
			return last == nil, nil
		})
	}
	if err != nil && last != nil {
		return fmt.Errorf("%w: the last answer was: %w", err, last)
	}
	return err
}

// get asks once, on a connection of its own.
func get(ctx context.Context, url string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return "", err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: (&net.Dialer{Timeout: 3 * time.Second}).DialContext}}
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<16))
	if err != nil {
		return "", err
	}
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %s", response.Status, strings.TrimSpace(string(body)))
	}
	return strings.TrimSpace(string(body)), nil
}
