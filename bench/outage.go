// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strconv"
	"time"

	"refit.dev/refit/cluster"
	"refit.dev/refit/internal/phrase"
	"refit.dev/refit/outage"
	"refit.dev/refit/outage/reality"
	"refit.dev/refit/twin"
)

//go:embed manifests/outage.yaml
var outageManifest []byte

const (
	// forecastNodes are in three zones of four.
	forecastNodes = 12
	// outageTimeout guards against a hang: the last pod is deleted after 50 s, 30 s
	// for the rate of the taints, and 300 s.
	outageTimeout = 15 * time.Minute
)

// forecastOutage loses a node and a zone of a cluster that has the clocks of every
// other cluster, and compares what happens with what was forecast.
func forecastOutage(ctx context.Context, b *bench) (section, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, outageTimeout, errors.New("it did not happen in time"))
	defer cancel()
	e, err := b.start(ctx, outageManifest, twin.Options{
		Nodes: forecastNodes, Zones: 3, StaticPods: true, ControllerManagerArgs: []string{"--kube-api-qps=20", "--kube-api-burst=30"},
	})
	if err != nil {
		return section{}, err
	}
	verdicts, err := e.loseNodes(ctx)
	if err := e.stop(ctx, err); err != nil {
		return section{}, err
	}
	t := table{columns: []string{"lost", "pods", "fates right", "deleted", "largest error", "mean error", "within the range given"}}
	for i, what := range []string{"a node", "a zone of 4 nodes"} {
		v := verdicts[i]
		t.lines = append(t.lines, []string{
			what, strconv.Itoa(v.Pods), strconv.Itoa(v.Right()), strconv.Itoa(v.Deleted),
			fmt.Sprintf("%.1f s", v.Deletion.Largest.Seconds()), fmt.Sprintf("%.1f s", v.Deletion.Mean().Seconds()),
			fmt.Sprintf("%d of %d", v.Deletion.N-v.Deletion.Outside, v.Deletion.N),
		})
	}
	return section{
		title: "When pods of lost nodes are deleted: forecast and reality",
		about: fmt.Sprintf("%s in three zones with the default clocks: grace period 50 s, tolerations 300 s, a node of a zone tainted every 10 s, 20 calls a second. A node of "+
			"one zone and all nodes of another die without a word, at the same time. Of each pod the forecast, made right before, says what becomes of it "+
			"and when it is deleted. An error is the difference from the deletion timestamp.", phrase.Count(forecastNodes, "node")),
		tables: []table{t},
		notes: []string{
			"Leases are renewed every 10 s and looked at every 5 s, which makes 15 s between the earliest and the latest moment for one node.",
			"Which node of a zone is tainted next is a matter of chance: with four of them a forecast may be wrong by another 30 s, with twelve by 110 s, which its range says.",
		},
	}, nil
}

// loseNodes loses a node of the third zone and all nodes of the second.
func (e *environment) loseNodes(ctx context.Context) ([]*reality.Verdict, error) {
	history, err := reality.Watch(ctx, e.client)
	if err != nil {
		return nil, err
	}
	nodes, err := e.nodes(ctx)
	if err != nil {
		return nil, err
	}
	lost := [][]string{nodes[2:3], nil}
	for i := 1; i < len(nodes); i += 3 {
		lost[1] = append(lost[1], nodes[i])
	}
	s, err := cluster.Read(ctx, e.client)
	if err != nil {
		return nil, err
	}
	parameters, remarks := outage.ReadParameters(s)
	if len(remarks) > 0 {
		return nil, fmt.Errorf("read the parameters: %v", remarks)
	}
	forecasts := make([]*outage.Forecast, len(lost))
	for i := range lost {
		if forecasts[i], err = outage.Predict(s, parameters, outage.Request{Nodes: lost[i]}); err != nil {
			return nil, err
		}
	}
	for _, names := range lost {
		for _, name := range names {
			if err := e.twin.FailNode(ctx, name); err != nil {
				return nil, err
			}
		}
	}
	verdicts := make([]*reality.Verdict, len(lost))
	for i, f := range forecasts {
		err := history.Await(ctx, "what was forecast", func() bool { return len(history.Judge(f).Wrong) == 0 })
		verdicts[i] = history.Judge(f)
		if err != nil {
			return nil, fmt.Errorf("%w: %v", err, verdicts[i].Wrong)
		}
		e.logf("%v: %d pods, deletions: %s", lost[i], verdicts[i].Pods, &verdicts[i].Deletion)
	}
	return verdicts, nil
}
