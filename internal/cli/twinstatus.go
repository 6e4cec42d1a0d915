// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/duration"

	"refit.dev/refit/report"
	"refit.dev/refit/twin"
)

func newTwinStatusCommand(a *app) *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:     "status",
		Short:   "Show the twins",
		Long:    "Show all twins, or one with its components.",
		Example: "  refit twin status\n  refit twin status --name old -o yaml",
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("name") {
				return a.twinStatus(cmd.Context(), name)
			}
			return a.twinList(cmd.Context())
		},
	}
	nameFlag(cmd, &name)
	a.outputFlag(cmd, "text", "wide", "json", "yaml")
	return cmd
}

func (a *app) twinList(ctx context.Context) error {
	twins, err := twin.List()
	if err != nil {
		return err
	}
	list := struct {
		Twins []*twin.Status `json:"twins"`
	}{Twins: []*twin.Status{}}
	for _, t := range twins {
		status, err := t.Status(ctx)
		if err != nil {
			return err
		}
		list.Twins = append(list.Twins, status)
	}
	if a.output == "json" || a.output == "yaml" {
		return report.WriteData(a.Out, a.output, list)
	}
	if len(list.Twins) == 0 {
		a.say("there is no twin; `refit twin up` makes one")
		return nil
	}
	return a.twinTable(list.Twins)
}

func (a *app) twinTable(all []*twin.Status) error {
	return writeTable(a.Out, func(row func(cells ...any)) {
		head := []any{"NAME", "VERSION", "NODES", "PODS", "STATE", "AGE"}
		if a.output == "wide" {
			head = append(head, "SERVER", "DIRECTORY")
		}
		row(head...)
		for _, s := range all {
			nodes, pods, age := "-", "-", "-"
			if s.State == twin.Running {
				nodes, pods = fmt.Sprintf("%d/%d", s.NodesReady, s.Nodes), fmt.Sprintf("%d/%d", s.PodsReady, s.Pods)
			}
			if !s.Created.IsZero() {
				age = duration.HumanDuration(time.Since(s.Created))
			}
			cells := []any{s.Name, dash(s.Version), nodes, pods, s.State, age}
			if a.output == "wide" {
				cells = append(cells, dash(s.Server), s.Dir)
			}
			row(cells...)
		}
	})
}

func (a *app) twinStatus(ctx context.Context, name string) error {
	tw, err := twin.Open(name)
	if err != nil {
		return twinError(err)
	}
	status, err := tw.Status(ctx)
	if err != nil {
		return err
	}
	if a.output == "json" || a.output == "yaml" {
		return report.WriteData(a.Out, a.output, status)
	}
	if err := a.twinTable([]*twin.Status{status}); err != nil || len(status.Parts) == 0 {
		return err
	}
	if _, err := io.WriteString(a.Out, "\n"); err != nil {
		return err
	}
	return writeTable(a.Out, func(row func(cells ...any)) {
		row("COMPONENT", "STATE", "PID", "RESTARTS", "LAST EXIT")
		for _, c := range status.Parts {
			row(c.Name, c.State, c.PID, c.Restarts, dash(c.LastExit))
		}
	})
}
