// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package units

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	"refit.dev/refit/host"
)

// lookLimit is how long a command has that only looks.
const lookLimit = 2 * time.Minute

// reader runs commands that only look, and remembers what could not be looked at.
type reader struct {
	m    host.Machine
	gaps []string
}

func (r *reader) gap(format string, args ...any) {
	r.gaps = append(r.gaps, fmt.Sprintf(format, args...))
}

// run runs argv. A failure of the command itself is left to the caller.
func (r *reader) run(ctx context.Context, argv ...string) (host.Result, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, lookLimit, fmt.Errorf("it did not end within %s", lookLimit))
	defer cancel()
	result, err := r.m.Exec(ctx, argv, host.ExecOptions{})
	if err != nil {
		return host.Result{}, fmt.Errorf("run %s: %w", argv[0], err)
	}
	return result, nil
}

// text runs argv, which has to succeed, and returns what it wrote.
func (r *reader) text(ctx context.Context, argv ...string) (string, error) {
	result, err := r.run(ctx, argv...)
	if err == nil {
		if err = host.Succeed(result, nil); err != nil {
			err = fmt.Errorf("run %s: %w", argv[0], err)
		}
	}
	return string(result.Stdout), err
}

// config reads which feature gates a unit has, and what of its configuration its health is
// asked by.
func (r *reader) config(ctx context.Context, u *Unit) error {
	u.Gates = map[string]bool{}
	u.Config = u.flag("config", "")
	if u.Component == Kubelet || u.Component == KubeProxy {
		files, err := r.dropIns(ctx, u)
		if err != nil {
			return err
		}
		if u.Config != "" {
			files = slices.Insert(files, 0, u.Config)
		}
		var c configuration
		for _, file := range files {
			text, err := r.m.ReadFile(ctx, file)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("read %s: %w", file, err)
			}
			if err := errors.Join(err, yaml.Unmarshal(text, &c)); err != nil {
				r.gap("%s, the configuration of %s: %v", file, u.Component, err)
			}
		}
		maps.Copy(u.Gates, c.FeatureGates)
		u.healthz(c)
	}
	for pair := range strings.SplitSeq(u.flag("feature-gates", ""), ",") {
		if name, value, found := strings.Cut(strings.TrimSpace(pair), "="); found {
			u.Gates[name[strings.LastIndexByte(name, ':')+1:]] = strings.EqualFold(value, "true") // component:Gate is possible since 1.32
		}
	}
	return nil
}

// dropInsScript prints the files of a kubelet's directory of configuration that it reads, in the
// order in which it does.
const dropInsScript = `[ ! -d "$1" ] || find -L "$1" -type f -name '*.conf' | LC_ALL=C sort`

// dropIns lists the files of a kubelet's --config-dir, each of which changes what the ones before
// it say (https://kubernetes.io/docs/tasks/administer-cluster/kubelet-config-file/).
func (r *reader) dropIns(ctx context.Context, u *Unit) (files []string, err error) {
	dir := u.flag("config-dir", "")
	if u.Component != Kubelet || dir == "" {
		return nil, nil
	}
	text, err := r.text(ctx, "sh", "-c", dropInsScript, "sh", dir)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", dir, err)
	}
	for line := range strings.Lines(text) {
		files = append(files, strings.TrimSuffix(line, "\n"))
	}
	return files, nil
}

// configuration is what matters of a KubeletConfiguration and a KubeProxyConfiguration.
type configuration struct {
	FeatureGates       map[string]bool `json:"featureGates"`
	HealthzPort        *int            `json:"healthzPort"`
	HealthzBindAddress string          `json:"healthzBindAddress"`
}
