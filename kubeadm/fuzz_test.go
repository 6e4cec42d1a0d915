// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package kubeadm

import (
	"strings"
	"testing"
)

// FuzzParsers feeds everything that reads other programs' output: nothing may panic,
// and what comes out has to be what the callers build commands of.
func FuzzParsers(f *testing.F) {
	for _, seed := range []string{
		"", "   kubeadm | 1.36.3-1.1 | https://pkgs.k8s.io/core:/stable:/v1.36/deb  Packages\n", "kubeadm\t1.36.3-1.1\tamd64\thold\tinstalled\n",
		"deb [signed-by=/k] https://pkgs.k8s.io/core:/stable:/v1.36/deb/ / # x\n", "Types: deb\nURIs: https://pkgs.k8s.io/core:/stable:/v1.36/deb/\n x\n\nEnabled: no\n",
		"[kubernetes]\nbaseurl=https://pkgs.k8s.io/core:/stable:/v1.36/rpm/\n  y\nexclude=kube*\n", " \n", "[", "deb [", "\t: x\n",
		"1: POSIX  ADVISORY  WRITE 1234 08:01:5678 0 EOF\n", `{"containers":[{"metadata":{"name":"etcd"},"state":"CONTAINER_RUNNING"}]}`,
		"file /a\n-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "/a LS0tLS1CRUdJTg==\n",
		"kind: Pod\nmetadata: {name: a}\nspec: {containers: [{image: b}]}\n", "KUBELET_ARGS=\"--a b -c=d\"\n", "\t[ERROR A]: b\nc\n[d]\n",
		"error: the version argument is invalid due to these errors:\n- a\n", "File Filesystem 1B-blocks Avail Mounted on\n/usr overlay 1 2 / x\n", "1\t/a\n",
		`APT::Periodic::Unattended-Upgrade "1";`, "featureGates: {A: true}\nevictionHard: {imagefs.available: 1%}\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, path := range []string{"/a.list", "/a.sources", "/a.repo"} {
			for _, r := range repositoriesIn(path, text, nil) {
				if r.Line < 1 || r.URI == "" || r.Minor < 1 {
					t.Fatalf("%s: %+v", path, r)
				}
				changed, err := r.pointAt(text, 37)
				if err != nil {
					t.Fatalf("%s: %+v: %v", path, r, err)
				}
				if strings.Count(changed, "\n") != strings.Count(text, "\n") {
					t.Fatalf("%s: lines were added or removed", path)
				}
				if again := repositoriesIn(path, changed, nil); len(again) == 0 {
					t.Fatalf("%s: %q becomes %q, which has no repository", path, text, changed)
				}
			}
		}
		for _, o := range append(parseMadison(text), parseDnfList(text)...) {
			if o.Name == "" || o.Version == "" {
				t.Fatalf("%+v", o)
			}
			upstream(o.Version)
		}
		upstream(text)
		for _, p := range parseDpkg(text) {
			if p.Version == "" {
				t.Fatalf("%+v", p)
			}
		}
		parseRPM(text)
		parseAudit(text)
		parseVersionlock(text)
		parseLocks(text)
		_, _ = parseContainers(text)
		_, _ = parseImages(text)
		parseCtr(text, text)
		parseImageList(text)
		parseCertificates(text)
		parseEmbedded(text)
		_, _ = parseManifest("/m.yaml", text)
		parseDf(text)
		parseDu(text)
		parseStamp(text)
		parseOSRelease(text)
		reachesKubernetes(parseAptConfig(text))
		appliesUpdates(text)
		excluded(text, PackageKubeadm)
		k := &Kubelet{}
		k.parseShow(text)
		_ = k.parseConfig(text)
		k.Flags = parseEnvFlags(text)
		k.flagGates()
		_, _ = parseKubeletVersion(text)
		output := strings.Split(text, "\n")
		for _, step := range []StepName{StepUpgrade, StepKubeadm} {
			if failure := explain(step, "exited with status 1", output); failure.Cause == "" || failure.Hint == "" {
				t.Fatalf("%+v", failure)
			}
		}
		if compareRevisions(text, text) != 0 {
			t.Fatal("a revision is not equal to itself")
		}
	})
}
