// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"refit.dev/refit/lab"
)

// deadline is a guard against hanging, for what takes seconds on a machine that
// has nothing else to do.
const deadline = 15 * time.Minute

// withoutCRICtl makes a machine one that has its kubeadm from elsewhere than the packages:
// they bring crictl, and where it is not there, containerd itself is asked.
const withoutCRICtl = "rm /usr/bin/crictl"

// up brings up a lab of its own for a test, which goes when the test ends.
func up(t *testing.T, opts lab.Options) *lab.Lab {
	t.Helper()
	say := func(line string) { t.Log(line) }
	t.Cleanup(func() {
		if err := lab.Down(context.WithoutCancel(t.Context()), opts.Name, say); err != nil {
			t.Errorf("the lab is not gone: %v", err)
		}
	})
	l, err := lab.Up(t.Context(), opts, say)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// ssh runs a command as an operator does, and returns what it says on both streams.
func ssh(t *testing.T, l *lab.Lab, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	argv := append([]string{"-F", l.SSHConfig(), "-o", "BatchMode=yes", "-o", "ConnectTimeout=5"}, args...)
	out, err := exec.CommandContext(ctx, "ssh", argv...).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// mustSSH is ssh for what has to succeed.
func mustSSH(t *testing.T, l *lab.Lab, args ...string) string {
	t.Helper()
	out, err := ssh(t, l, args...)
	if err != nil {
		t.Fatalf("ssh %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return out
}

// nodes returns the cluster's nodes by name.
func nodes(t *testing.T, l *lab.Lab) map[string]corev1.Node {
	t.Helper()
	var list corev1.NodeList
	if err := json.Unmarshal([]byte(kubectl(t, l, "get", "nodes", "-o", "json")), &list); err != nil {
		t.Fatal(err)
	}
	byName := map[string]corev1.Node{}
	for _, n := range list.Items {
		byName[n.Name] = n
	}
	return byName
}

func ready(n corev1.Node) bool {
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// wantAnswers wants the Service to answer, through every machine, from each of these
// workers, and to be resolved by the cluster's DNS.
func wantAnswers(t *testing.T, l *lab.Lab, from ...string) {
	t.Helper()
	for _, through := range l.Nodes() {
		missing := map[string]bool{}
		for _, name := range from {
			missing[name] = true
		}
		eventually(t, fmt.Sprintf("the Service answers through %s from %v", through.Name, from), func() error {
			said, err := get(t, l.AnswerURL(through))
			node, _, _ := strings.Cut(said, " ")
			delete(missing, node)
			if err == nil && len(missing) > 0 {
				err = fmt.Errorf("no answer yet from %v", missing)
			}
			return err
		})
		eventually(t, "the Service has a name in "+through.Name, func() error {
			_, err := get(t, l.AnswerURL(through)+"/resolve/answer.refit-lab.svc.cluster.local")
			return err
		})
	}
}

func get(t *testing.T, url string) (string, error) {
	t.Helper()
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", response.Status, body)
	}
	return string(body), err
}

// eventually tries until there is no error any more.
func eventually(t *testing.T, what string, try func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: not after %s: %v", what, deadline, err)
		case <-tick.C:
		}
	}
}
