// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"refit.dev/refit/internal/phrase"
	"refit.dev/refit/twin"
)

const (
	exported   = 10000 // objects that are exported
	imported   = 5000  // objects that are imported, each time into a namespace of their own
	seedLength = 2     // imports of that many objects fill the cluster for the export
)

// exportAndImport measures both ways: everything that is in a cluster into files, and files into a cluster.
func exportAndImport(ctx context.Context, b *bench) (s section, err error) {
	e, err := b.start(ctx, []byte("apiVersion: v1\nkind: Namespace\nmetadata: {name: bench}\n"), twin.Options{Nodes: 1, Zones: 1})
	if err != nil {
		return section{}, err
	}
	defer func() { err = e.stop(ctx, err) }()
	var imports, exports []pair
	for round := range seedLength {
		p, err := e.importRound(ctx, round)
		if err != nil {
			return section{}, err
		}
		b.logf("import: refit %s, kubectl %s", p.refit.wall, p.kubectl.wall)
		imports = append(imports, p)
		// What refit has made stays, as a part of what is exported; two rounds of it are all of that.
		if err := e.forget(ctx, namespaceOf("kubectl", round)); err != nil {
			return section{}, err
		}
	}
	resources, err := e.listable(ctx)
	if err != nil {
		return section{}, err
	}
	for round := range b.rounds {
		var p pair
		steps := []func() error{
			func() (err error) { p.refit, err = e.exportByRefit(ctx, round); return err },
			func() (err error) { p.kubectl, err = e.exportByKubectl(ctx, resources); return err },
		}
		if round%2 == 1 {
			steps[0], steps[1] = steps[1], steps[0]
		}
		for _, step := range steps {
			if err := step(); err != nil {
				return section{}, err
			}
		}
		b.logf("export: refit %s, kubectl %s", p.refit.wall, p.kubectl.wall)
		exports = append(exports, p)
	}
	ratio := func(pairs []pair) string {
		return spreadOver(pairs, func(p pair) float64 { return p.refit.wall.Seconds() / p.kubectl.wall.Seconds() }).ratio()
	}
	rate := func(s sample) float64 { return imported / s.wall.Seconds() }
	return section{
		title: fmt.Sprintf("Export of %d objects, import of %d", exported, imported),
		about: fmt.Sprintf("Of ten objects six are ConfigMaps; the others a Secret, a Service, a ServiceAccount and a Deployment of no pods. Export: `refit export DIR --secrets=plain --include-generated` "+
			"into a new directory, and `kubectl get RESOURCE -A -o yaml` for each of the %d resources that can be listed and made, one after the other, whose answers are kept in memory. "+
			"Import: `refit import DIR --yes`, and `kubectl apply -R -f DIR` of the same objects, in files of one hundred, into a namespace that is new.", len(resources)),
		tables: []table{
			compared(wallRow(exports, ratio(exports), "export at most 0.333"), requestRow(exports, "", ""), memoryRow(exports)),
			compared(
				wallRow(imports, ratio(imports), "import at most 0.200"),
				row{
					what: "objects per second", refit: spreadOver(imports, func(p pair) float64 { return rate(p.refit) }).count(),
					kubectl: spreadOver(imports, func(p pair) float64 { return rate(p.kubectl) }).count(),
					ratio:   spreadOver(imports, func(p pair) float64 { return rate(p.refit) / rate(p.kubectl) }).ratio(), goal: "at least 5.000",
				},
				requestRow(imports, "", ""), memoryRow(imports)),
		},
		notes: []string{fmt.Sprintf("%s of the export, the first table; %s of the import, the second.", phrase.Count(len(exports), "round"), phrase.Count(len(imports), "round"))},
	}, nil
}

func namespaceOf(who string, round int) string { return fmt.Sprintf("%s-%d", who, round) }

// importRound has both programs make the same objects, in namespaces of their own.
func (e *environment) importRound(ctx context.Context, round int) (p pair, err error) {
	apply := func(who string, program func(context.Context, ...string) (sample, error), args ...string) (sample, error) {
		namespace := namespaceOf(who, round)
		object := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}
		if _, err := e.client.CoreV1().Namespaces().Create(ctx, object, metav1.CreateOptions{}); err != nil {
			return sample{}, fmt.Errorf("make namespace %s: %w", namespace, err)
		}
		dir := filepath.Join(e.state, namespace)
		if err := writeManifests(dir, namespace); err != nil {
			return sample{}, err
		}
		return program(ctx, append(args, dir)...)
	}
	steps := []func() error{
		func() (err error) { p.refit, err = apply("refit", e.refit, "import", "--yes"); return err },
		func() (err error) { p.kubectl, err = apply("kubectl", e.kubectl, "apply", "-R", "-f"); return err },
	}
	if round%2 == 1 {
		steps[0], steps[1] = steps[1], steps[0]
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return p, err
		}
	}
	return p, nil
}

// writeManifests writes the objects of an import, a hundred in a file.
func writeManifests(dir, namespace string) error {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	for file := range imported / 100 {
		var b strings.Builder
		for i := range 100 {
			name := fmt.Sprintf("o-%05d", 100*file+i)
			head := "---\napiVersion: %s\nkind: %s\nmetadata: {name: " + name + ", namespace: " + namespace + ", labels: {app: " + name + ", part-of: bench}}\n"
			switch i % 10 {
			case 6:
				fmt.Fprintf(&b, head+"stringData: {password: %q}\n", "v1", "Secret", strings.Repeat(name, 8))
			case 7:
				fmt.Fprintf(&b, head+"spec: {clusterIP: None, selector: {app: %s}, ports: [{port: 80}]}\n", "v1", "Service", name)
			case 8:
				fmt.Fprintf(&b, head, "v1", "ServiceAccount")
			case 9:
				fmt.Fprintf(&b, head+"spec: {replicas: 0, selector: {matchLabels: {app: %[3]s}}, template: {metadata: {labels: {app: %[3]s}}, spec: {containers: [{name: c, image: example.com/c, "+
					"resources: {requests: {cpu: 100m, memory: 64Mi}}}]}}}\n", "apps/v1", "Deployment", name)
			default:
				fmt.Fprintf(&b, head+"data: {key: %q}\n", "v1", "ConfigMap", strings.Repeat(name+" ", 20))
			}
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%03d.yaml", file)), []byte(b.String()), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// forget deletes a namespace, and waits until it is gone.
func (e *environment) forget(ctx context.Context, namespace string) error {
	_, err := e.kubectl(ctx, "delete", "namespace", namespace, "--wait")
	return err
}

// listable are the resources that are exported by hand, as kubectl api-resources lists them.
func (e *environment) listable(ctx context.Context) ([]string, error) {
	out, err := output(ctx, []string{filepath.Join(e.bin, "refit-twin"), "kubectl", "--kubeconfig", e.twin.Kubeconfig(), "api-resources", "--verbs=list,create", "-o", "name"})
	if err != nil {
		return nil, err
	}
	return strings.Fields(string(out)), nil
}

func (e *environment) exportByRefit(ctx context.Context, round int) (sample, error) {
	dir := filepath.Join(e.state, fmt.Sprintf("export-%d", round))
	s, err := e.refit(ctx, "export", dir, "--secrets=plain", "--include-generated")
	if err != nil {
		return s, err
	}
	written := 0
	err = filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if strings.HasSuffix(path, ".yaml") {
			written++
		}
		return err
	})
	if err == nil && written < exported {
		err = fmt.Errorf("refit has exported %d objects, of more than %d", written, exported)
	}
	return s, err
}

// exportByKubectl asks for one resource after the other.
func (e *environment) exportByKubectl(ctx context.Context, resources []string) (total sample, err error) {
	for _, r := range resources {
		s, err := e.kubectl(ctx, "get", r, "-A", "-o", "yaml")
		if err != nil {
			return total, err
		}
		total = total.add(s)
	}
	return total, nil
}
