// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"io"
	"text/tabwriter"

	"refit.dev/refit/internal/phrase"
	"refit.dev/refit/toleration"
)

// writeEvictionTimeouts writes what is in force for people.
func writeEvictionTimeouts(w io.Writer, r *toleration.Report) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "TAINT\tTOLERATED FOR\tFROM")
	for _, d := range r.Defaults {
		assumed := ""
		if d.Assumed {
			assumed = " (assumed)"
		}
		fmt.Fprintf(t, "%s\t%s\t%s%s\n", d.Taint, d.Patience(), oneLine(d.Source), assumed)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(w, "\n%s %s this from the API server, %s.\n", phrase.Count(r.Same, "workload"),
		phrase.Plural(r.Same, "takes", "take"), differ(len(r.Workloads)))
	if len(r.Workloads) > 0 {
		fmt.Fprintln(w)
		fmt.Fprintln(t, "NAMESPACE\tWORKLOAD\tNOT-READY\tUNREACHABLE\tPODS\tWHY")
		for _, x := range r.Workloads {
			fmt.Fprintf(t, "%s\t%s/%s\t%s\t%s\t%d\t%s\n", oneLine(x.Namespace), oneLine(x.Kind), oneLine(x.Name),
				patience(x.NotReady), patience(x.Unreachable), x.Pods, x.Why)
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	if len(r.Older) > 0 {
		fmt.Fprint(w, "\nPods that have other times than a new pod of the same workload would get:\n\n")
		fmt.Fprintln(t, "NAMESPACE\tWORKLOAD\tPODS\tNOT-READY\tUNREACHABLE")
		for _, x := range r.Older {
			fmt.Fprintf(t, "%s\t%s/%s\t%d\t%s\t%s\n", oneLine(x.Namespace), oneLine(x.Kind), oneLine(x.Name), x.Pods, x.NotReady, x.Unreachable)
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	if r.DaemonSets > 0 {
		fmt.Fprintf(w, "\nThe pods of %s stay on a lost node for ever, as those of all DaemonSets do.\n", phrase.Count(r.DaemonSets, "DaemonSet"))
	}
	for _, remark := range r.Remarks {
		fmt.Fprintf(w, "\nNote: %s.\n", oneLine(remark))
	}
	return nil
}

func differ(n int) string {
	switch n {
	case 0:
		return "none differs"
	case 1:
		return "1 differs"
	}
	return fmt.Sprintf("%d differ", n)
}

// patience marks what is from the API server.
func patience(p toleration.Patience) string {
	if p.Source == toleration.SourceDefault {
		return p.String() + " (default)"
	}
	return p.String()
}
