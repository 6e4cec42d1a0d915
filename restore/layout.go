// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package restore

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	"refit.dev/refit/internal/hint"
	"refit.dev/refit/run"
)

// Where kubeadm has things.
// (https://kubernetes.io/docs/reference/setup-tools/kubeadm/implementation-details/)
const (
	manifestDir   = "/etc/kubernetes/manifests"
	kubeletConfig = "/etc/kubernetes/kubelet.conf"
	clusterCA     = "/etc/kubernetes/pki/ca.crt"
	clusterCAKey  = "/etc/kubernetes/pki/ca.key"
	// inCluster is where a set has objects that are in the snapshot as well.
	inCluster = "/refit/"
	// packaged is what packages install.
	packaged = "/usr/"
)

// components are what a restore stops and starts.
func components() []string { return []string{etcdName, apiServer, controllerManager, scheduler} }

// memberOf reads out of the files of a control plane which member of etcd it was.
func memberOf(files []File, node string) (run.Member, error) {
	text := content(files, etcdManifest)
	if text == nil {
		return run.Member{}, hint.Wrap(fmt.Errorf("%s is not in the set", etcdManifest),
			"--bootstrap is for control planes of kubeadm with etcd on the same machine; restore etcd alone with refit restore, on machines that you have made")
	}
	m, err := parseStaticPod(text)
	if err != nil {
		return m, err
	}
	m.Node = node
	m.APIServer = content(files, path.Join(manifestDir, apiServer+".yaml")) != nil
	if !m.APIServer {
		return m, errors.New("the manifest of the API server is not in the set")
	}
	return m, nil
}

// content is what a file has, nil if there is none.
func content(files []File, p string) []byte {
	i := slices.IndexFunc(files, func(f File) bool { return f.Path == p })
	if i < 0 {
		return nil
	}
	return files[i].Data
}

// layout says which files an empty machine gets, in which order. Manifests of what is started later are put where the
// kubelet does not look; what packages install is left to them. The kubelet's certificate, which is
// made anew every year and is in no set, is made by the cluster's authority.
func layout(files []File, node, park string, now time.Time) ([]File, error) {
	var all []File
	for _, f := range files {
		switch {
		case strings.HasPrefix(f.Path, inCluster), strings.HasPrefix(f.Path, packaged):
			continue
		case !path.IsAbs(f.Path) || path.Clean(f.Path) != f.Path:
			return nil, fmt.Errorf("%q is no path of a file", f.Path)
		case path.Dir(f.Path) == manifestDir && slices.Contains(components(), strings.TrimSuffix(path.Base(f.Path), ".yaml")):
			f.Path = path.Join(park, path.Base(f.Path))
		}
		f.Mode = f.Mode.Perm()
		all = append(all, f)
	}
	more, err := kubeletCertificate(files, node, now)
	if err != nil {
		return nil, err
	}
	all = append(all, more...)
	slices.SortStableFunc(all, func(a, b File) int { return strings.Compare(a.Link, b.Link) }) // links last
	return all, nil
}

// kubeletCertificate makes the client certificate that the kubelet's kubeconfig names, if the files
// do not have it.
func kubeletCertificate(files []File, node string, now time.Time) ([]File, error) {
	var c struct {
		Users []struct {
			User struct {
				Certificate string `json:"client-certificate"`
				Key         string `json:"client-key"`
			}
		}
	}
	text := content(files, kubeletConfig)
	if text == nil {
		return nil, fmt.Errorf("%s is not in the set", kubeletConfig)
	}
	if err := yaml.Unmarshal(text, &c); err != nil || len(c.Users) != 1 {
		return nil, fmt.Errorf("%s: want a kubeconfig with one user", kubeletConfig)
	}
	user := c.Users[0].User
	if user.Certificate == "" || content(files, user.Certificate) != nil {
		return nil, nil // it is in the kubeconfig itself, or there
	}
	if user.Key != user.Certificate || !path.IsAbs(user.Certificate) {
		return nil, fmt.Errorf("%s names the certificate %q and the key %q, which are not in the set", kubeletConfig, user.Certificate, user.Key)
	}
	ca, key := content(files, clusterCA), content(files, clusterCAKey)
	if ca == nil || key == nil {
		return nil, hint.Wrap(fmt.Errorf("the kubelet needs a new certificate, and %s or %s is not in the set", clusterCA, clusterCAKey),
			"the authority is elsewhere: make the control plane with its help, and restore etcd with refit restore")
	}
	pair, err := clientPair(ca, key, node, now)
	if err != nil {
		return nil, fmt.Errorf("make a certificate for the kubelet: %w", err)
	}
	// A kubelet wants a link where it will put the next one (k8s.io/client-go/util/certificate, fileStore).
	real := path.Join(path.Dir(user.Certificate), "kubelet-client-"+now.UTC().Format("2006-01-02-15-04-05")+".pem")
	return []File{{Path: real, Mode: 0o600, Data: pair}, {Path: user.Certificate, Link: real}}, nil
}
