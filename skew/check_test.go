// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package skew_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"refit.dev/refit/skew"
)

// TestCheck runs the transcripts of testdata/check. The input of "check" is one
// instance a line, `COMPONENT [NAME] VERSION [emulates VERSION] [via NAME]`; the output is
// one violation after the other. "check newest=N" gives the newest minor.
func TestCheck(t *testing.T) {
	datadriven.Walk(t, "testdata/check", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if d.Cmd != "check" {
				d.Fatalf(t, "no command %q", d.Cmd)
			}
			var c skew.Components
			if d.HasArg("newest") {
				d.ScanArgs(t, "newest", &c.Newest)
			}
			for line := range strings.Lines(d.Input) {
				if err := add(&c, strings.Fields(line)); err != nil {
					d.Fatalf(t, "%s: %v", strings.TrimSpace(line), err)
				}
			}
			var out strings.Builder
			for _, v := range skew.Check(c) {
				fmt.Fprintf(&out, "%s\n  %s\n", v.Rule, v.Message())
			}
			if out.Len() == 0 {
				return "fine\n"
			}
			return out.String()
		})
	})
}

func add(c *skew.Components, words []string) error {
	list, ok := map[string]*[]skew.Instance{
		"kube-apiserver": &c.APIServers, "kube-controller-manager": &c.ControllerManagers, "kube-scheduler": &c.Schedulers,
		"cloud-controller-manager": &c.CloudControllerManagers, "kubelet": &c.Kubelets, "kube-proxy": &c.KubeProxies,
		"kubectl": &c.Kubectls,
	}[words[0]]
	if !ok {
		return fmt.Errorf("no component %s", strconv.Quote(words[0]))
	}
	var i skew.Instance
	words = words[1:]
	version, err := skew.Parse(words[0])
	if err != nil {
		i.Name, words = words[0], words[1:]
		if version, err = skew.Parse(words[0]); err != nil {
			return err
		}
	}
	i.Version = version
	for words = words[1:]; len(words) >= 2; words = words[2:] {
		switch words[0] {
		case "emulates":
			if i.Emulated, err = skew.Parse(words[1]); err != nil {
				return err
			}
		case "via":
			i.APIServer = words[1]
		default:
			return fmt.Errorf("no option %s", words[0])
		}
	}
	if len(words) > 0 {
		return fmt.Errorf("%q is left over", words)
	}
	*list = append(*list, i)
	return nil
}
