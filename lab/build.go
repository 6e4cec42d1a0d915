// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// static makes programs that run in an empty image and on machines with another
// C library than this one's, and leaves what the compiler caches as it is for
// everything else of this source tree, which CGO_ENABLED=0 would not. Go's own
// resolver and glibc's built-in lookup of users are what such programs use.
const static = "-s -w -linkmode external -extldflags -static"

// module is a Go module below lab/build whose programs a lab needs.
type module struct {
	name    string
	what    string // for the user
	ldflags string // beside static
}

func modules() []module {
	var out []module
	for _, r := range releases() {
		minor := strings.TrimPrefix(r.Minor(), "1.")
		const version = "k8s.io/component-base/version"
		out = append(out,
			module{r.Module, "Kubernetes " + r.Version, fmt.Sprintf("-X %[1]s.gitVersion=v%[2]s -X %[1]s.gitMajor=1 -X %[1]s.gitMinor=%[3]s", version, r.Version, minor)},
			module{r.Etcd, "etcd of Kubernetes " + r.Minor(), ""})
	}
	return append(out, module{"coredns", "CoreDNS", ""}, module{"containerd", "containerd", ""},
		module{criTools, "crictl", "-X sigs.k8s.io/cri-tools/pkg/version.Version=v" + criToolsVersion})
}

// programs compiles a module and returns the directory with its programs.
func (c *cache) programs(ctx context.Context, m module) (string, error) {
	dir := filepath.Join(c.source, "build", m.name)
	return c.compile(ctx, m.name, dir, m.what, m.ldflags)
}

// inside compiles what runs in the machines of a lab beside Kubernetes, and
// returns its directory.
func (c *cache) inside(ctx context.Context) (string, error) {
	return c.compile(ctx, "inside", filepath.Join(c.source, "inside"), "the lab's store", "")
}

// compile makes the commands that the module in dir has as its tools, or the
// command in dir where that has Go files.
func (c *cache) compile(ctx context.Context, name, dir, what, ldflags string) (string, error) {
	goVersion, err := command{Dir: dir, Argv: []string{"go", "env", "GOVERSION"}}.run(ctx)
	if err != nil {
		return "", err
	}
	flags := strings.TrimSpace(static + " " + ldflags)
	parts := []string{goVersion, flags}
	var sources []string
	for _, pattern := range []string{"go.mod", "go.sum", "*.go"} {
		files, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return "", err
		}
		for _, f := range files {
			sources = append(sources, "@"+f)
		}
	}
	k, err := key(append(parts, sources...)...)
	if err != nil {
		return "", err
	}
	target := "tool"
	if slices.ContainsFunc(sources, func(s string) bool { return strings.HasSuffix(s, ".go") }) {
		target = "."
	}
	return c.get(name, k, func(out string) error {
		c.progress.say("building %s from source", what)
		begin := time.Now()
		_, err := command{Dir: dir, Argv: []string{"go", "build", "-trimpath", "-ldflags", flags, "-o", out + "/", target}}.run(ctx)
		if err != nil {
			return fmt.Errorf("build %s in %s: %w", what, dir, err)
		}
		c.progress.say("built %s in %s", what, time.Since(begin).Round(time.Second))
		return nil
	})
}
