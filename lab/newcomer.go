// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"refit.dev/refit/internal/hint"
)

// Newcomer is a worker that is to be added to a lab. The zero value of what is optional is none.
type Newcomer struct {
	// Name is also that of its Node: a DNS label that no machine of the lab has.
	Name string
	// Version is the one of Kubernetes that is installed on it, one of Versions().
	Version string
	// Server is the API server, HOST:PORT; Token and CACertHash (sha256:HEX) are what it joins by.
	Server, Token, CACertHash string
	// Labels and Taints (key=value:Effect) are what its kubelet registers with. Labels that a
	// kubelet may not give to its own Node are left out.
	Labels map[string]string
	Taints []string
}

var (
	tokenPattern = regexp.MustCompile(`^[a-z0-9]{6}\.[a-z0-9]{16}$`)
	hashPattern  = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
	taintPattern = regexp.MustCompile(`^([^=:]+)=([^=:]*):(NoSchedule|PreferNoSchedule|NoExecute)$`)
)

// check says what is wrong with a newcomer, and never shows its token.
func (n Newcomer) check() error {
	if problems := validation.IsDNS1123Label(n.Name); len(problems) > 0 {
		return fmt.Errorf("name %q: %s", n.Name, strings.Join(problems, "; "))
	}
	if !slices.Contains(Versions(), n.release()) {
		return fmt.Errorf("version %q of Kubernetes: the store has %s", n.Version, strings.Join(Versions(), ", "))
	}
	if _, _, err := net.SplitHostPort(n.Server); err != nil || strings.ContainsAny(n.Server, "\"'\\\n ") {
		return fmt.Errorf("server %q: want HOST:PORT", n.Server)
	}
	if !tokenPattern.MatchString(n.Token) {
		return errors.New("its token is no bootstrap token")
	}
	if !hashPattern.MatchString(n.CACertHash) {
		return fmt.Errorf("%q is no hash of an authority's key: want sha256:HEX", n.CACertHash)
	}
	for key, value := range n.Labels {
		if problems := append(validation.IsQualifiedName(key), validation.IsValidLabelValue(value)...); len(problems) > 0 {
			return fmt.Errorf("label %s=%s: %s", key, value, strings.Join(problems, "; "))
		}
	}
	_, err := n.taints()
	return err
}

// release is the version without the v.
func (n Newcomer) release() string { return strings.TrimPrefix(n.Version, "v") }

// labels are the kubelet's --node-labels. Those in the domains of Kubernetes it may set for a
// few keys only, and does not start otherwise (NodeRestriction).
func (n Newcomer) labels() string {
	var out []string
	for _, key := range sortedKeys(n.Labels) {
		domain, _, qualified := strings.Cut(key, "/")
		if qualified && (strings.HasSuffix("."+domain, ".kubernetes.io") || strings.HasSuffix("."+domain, ".k8s.io")) {
			continue
		}
		out = append(out, key+"="+n.Labels[key])
	}
	return strings.Join(out, ",")
}

// taints are those of kubeadm's configuration, as JSON; "" if there are none.
func (n Newcomer) taints() (string, error) {
	type taint struct {
		Key    string `json:"key"`
		Value  string `json:"value"`
		Effect string `json:"effect"`
	}
	var list []taint
	for _, text := range n.Taints {
		m := taintPattern.FindStringSubmatch(text)
		if m == nil {
			return "", fmt.Errorf("taint %q: want key=value:Effect", text)
		}
		if problems := append(validation.IsQualifiedName(m[1]), validation.IsValidLabelValue(m[2])...); len(problems) > 0 {
			return "", fmt.Errorf("taint %s: %s", text, strings.Join(problems, "; "))
		}
		list = append(list, taint{m[1], m[2], m[3]})
	}
	if len(list) == 0 {
		return "", nil
	}
	data, err := json.Marshal(list)
	return string(data), err
}

// admit gives a newcomer its place in the record of the lab, which is not written yet. Addresses go
// round, so that one is not given again soon.
func (l *Lab) admit(n Newcomer) (Machine, error) {
	taken := map[string]bool{}
	for _, m := range l.Machines() {
		if m.Name == n.Name {
			return Machine{}, fmt.Errorf("machine %s is there already", n.Name)
		}
		taken[m.Address.String()] = true
	}
	for range maxWorkers {
		number := firstWorker + (l.record.Options.Workers+l.record.Issued)%maxWorkers
		l.record.Issued++
		if address := l.address(number); !taken[address.String()] {
			l.record.Added = append(l.record.Added, added{n.Name, number})
			return Machine{n.Name, Worker, address}, nil
		}
	}
	return Machine{}, hint.Wrap(fmt.Errorf("no address is free: a lab has %d workers at most", maxWorkers), "remove one first")
}

// isAdded tells whether a machine came later.
func (l *Lab) isAdded(name string) bool {
	return slices.ContainsFunc(l.record.Added, func(a added) bool { return a.Name == name })
}

// seed are the files with which a newcomer becomes a node when it is started first, and those
// that nobody else may read.
func (l *Lab) seed(m Machine, n Newcomer, h host) (files, secret map[string]string, err error) {
	if files, err = l.wiring(m); err != nil {
		return nil, nil, err
	}
	taints, err := n.taints()
	if err != nil {
		return nil, nil, err
	}
	config, err := fill("kubeadm.yaml", joining{Machine: m, host: h, Join: true, Cluster: l.network(), Version: n.release(), Endpoint: n.Server,
		PodSubnet: podSubnet, Token: n.Token, CAHash: n.CACertHash, NodeLabels: n.labels(), Taints: taints})
	if err != nil {
		return nil, nil, err
	}
	script, err := fill("join.sh", struct{ Joined, Installation string }{joined, l.installation(n.release())})
	if err != nil {
		return nil, nil, err
	}
	files["./etc/lab/join.sh"] = script
	files["./etc/systemd/system/lab-join.service"] = text("lab-join.service")
	files["./etc/systemd/system/multi-user.target.d/lab-join.conf"] = "[Unit]\nWants=lab-join.service\n"
	return files, map[string]string{"./etc/lab/kubeadm.yaml": config}, nil
}
