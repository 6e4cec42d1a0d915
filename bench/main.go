// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

// benchmark is one comparison. Its run returns a section of the report.
type benchmark struct {
	name string
	run  func(context.Context, *bench) (section, error)
}

var benchmarks = []benchmark{
	{"drain-110", drainOneNode},
	{"one-budget", drainOneBudget},
	{"maintain-50", maintainFifty},
	{"maintain-50-full", maintainFull},
	{"plan-5000", planFiveThousand},
	{"outage", forecastOutage},
	{"outage-5000", outageFiveThousand},
	{"backup", backupAndRestore},
	{"vault", backupSets},
	{"export", exportAndImport},
	{"upgrade-lab", upgradeLab},
}

func main() {
	work := run
	if nodes := os.Getenv(planChild); nodes != "" {
		work = func() error { return planHere(nodes, os.Stdout) }
	}
	if err := work(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run() error {
	out := flag.String("out", "docs/benchmarks.md", "file to write the report to; - for standard output")
	rounds := flag.Int("rounds", 5, "rounds of the short benchmarks")
	longRounds := flag.Int("long-rounds", 2, "rounds of the benchmarks that take minutes")
	only := flag.String("only", "", "names of the benchmarks to run, separated by commas; all if empty. Sections of others are kept from -out")
	vault := vaultScale{}
	flag.Int64Var(&vault.megabytes, "vault-megabytes", 350, "size of the database that backup sets are saved of")
	flag.IntVar(&vault.sets, "vault-sets", 24, "how many backup sets are saved of it")
	bin := flag.String("bin", "bin", "directory with refit and refit-twin")
	flag.Parse()
	if *rounds < 1 || *longRounds < 1 || vault.megabytes < 1 || vault.sets < 1 {
		return fmt.Errorf("-rounds, -long-rounds, -vault-megabytes and -vault-sets must be at least 1")
	}

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	b, err := newBench(*bin, *rounds, *longRounds)
	if err != nil {
		return err
	}
	defer b.close()
	b.vault = vault

	var sections []section
	for _, bm := range benchmarks {
		if *only != "" && !slices.Contains(strings.Split(*only, ","), bm.name) {
			continue
		}
		b.logf("%s", bm.name)
		start := time.Now()
		s, err := bm.run(ctx, b)
		if unfit, ok := errors.AsType[*unfitError](err); ok && *only == "" {
			b.logf("%s is left out: %v", bm.name, unfit)
			continue
		}
		if err != nil {
			return fmt.Errorf("%s: %w", bm.name, err)
		}
		s.name = bm.name
		sections = append(sections, s)
		b.logf("%s took %s", bm.name, time.Since(start).Round(time.Second))
	}
	if len(sections) == 0 {
		return fmt.Errorf("-only %q names no benchmark", *only)
	}
	return writeReport(*out, sections)
}
