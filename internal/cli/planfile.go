// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"refit.dev/refit/event"
	"refit.dev/refit/internal/hint"
	"refit.dev/refit/internal/phrase"
	"refit.dev/refit/report"
	"refit.dev/refit/run"
)

// besidePlan are the flags that --plan leaves free: all others are in the plan.
var besidePlan = [...]string{"plan", "dry-run", "yes", "output"}

// onlyPlan fails if something is said beside a saved plan that the plan says; free are
// flags of the command that no plan says.
func onlyPlan(args []string, cmd *cobra.Command, free ...string) error {
	var said []string
	if len(args) > 0 {
		said = append(said, "names of nodes")
	}
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if !slices.Contains(besidePlan[:], f.Name) && !slices.Contains(free, f.Name) && cmd.InheritedFlags().Lookup(f.Name) == nil {
			said = append(said, "--"+f.Name)
		}
	})
	if len(said) == 0 {
		return nil
	}
	return hint.Wrap(fmt.Errorf("--plan excludes %s: the plan says what is done, and how", strings.Join(said, ", ")),
		"make another plan with --out, or leave out what excludes it")
}

// readPlan reads a saved plan; - is the standard input.
func (a *app) readPlan(ctx context.Context, name string) (*run.SavedPlan, error) {
	return readPlanFile(ctx, a.In, name, run.ReadPlan, "refit maintain")
}

// readPlanFile reads a plan that the verb saves, as read does.
func readPlanFile[P any](ctx context.Context, in io.Reader, name string, read func(io.Reader) (*P, error), verb string) (*P, error) {
	type result struct {
		plan *P
		err  error
	}
	done := make(chan result, 1)
	go func() { // stays behind if ctx ends first: nobody may ever write to a pipe or type at a terminal
		p, err := openPlan(in, name, read)
		done <- result{p, err}
	}()
	select {
	case r := <-done:
		if r.err != nil {
			return nil, hint.Wrap(usageError(fmt.Errorf("--plan %s: %w", name, r.err)), "%s ... --out FILE saves a plan", verb)
		}
		return r.plan, nil
	case <-ctx.Done():
		return nil, exitWith(exitUnfinished, fmt.Errorf("--plan %s: interrupted while it was read; nothing was changed", name))
	}
}

func openPlan[P any](in io.Reader, name string, read func(io.Reader) (*P, error)) (*P, error) {
	if name == "-" {
		return read(in)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, reason(err)
	}
	defer f.Close()
	return read(f)
}

// reason leaves out what an error of package os says of the file: it has been named.
func reason(err error) error {
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		return path.Err
	}
	return err
}

// checkOut says beforehand whether a plan can be saved under a name. Only another
// plan of the same kind is replaced: nobody wants to lose a file to a slip of the hand.
func checkOut[P any](name string, read func(io.Reader) (*P, error)) error {
	if name == "-" {
		return nil
	}
	fail := func(why string) error {
		return hint.Wrap(usageError(fmt.Errorf("--out %s: %s", name, why)), "name another file")
	}
	if info, err := os.Stat(filepath.Dir(name)); err != nil {
		return fail(reason(err).Error())
	} else if !info.IsDir() {
		return fail(filepath.Dir(name) + " is not a directory")
	}
	info, err := os.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fail(reason(err).Error())
	case !info.Mode().IsRegular():
		return fail("is there, and is not a regular file")
	}
	f, err := os.Open(name)
	if err != nil {
		return fail(reason(err).Error())
	}
	defer f.Close()
	if _, err := read(f); err != nil {
		return fail("is there, and is not a plan")
	}
	return nil
}

// showOnly is the end of a dry run: the plan is its data. One that cannot begin is
// shown, but not saved.
func (a *app) showOnly(p *run.Prepared, out string) (run.Outcome, error) {
	if err := a.showPlan(p, out == "-"); err != nil {
		return run.Outcome{}, err
	}
	if p.Blocked != nil {
		if a.output == "text" || a.output == "wide" { // it has been told at length
			return run.Outcome{}, hint.Wrap(&run.BlockedError{Err: errors.New("it would not be safe to begin: " + phrase.Count(len(p.Plan.Blockers), "blocker"))},
				"%s", cmp.Or(hint.Of(p.Blocked), "mend what blocks, or leave those nodes out"))
		}
		return run.Outcome{}, p.Blocked
	}
	done := run.Outcome{Result: event.ResultDone}
	if out == "" {
		return done, nil
	}
	return done, a.savePlan(out, p.Save(), "refit maintain --plan %s applies it")
}

// showPlan writes the plan as data; aside, on stderr, if stdout is for the plan
// that is saved, or would be if it were not blocked.
func (a *app) showPlan(p *run.Prepared, aside bool) error {
	w := a.Out
	if a.output == "json" || a.output == "yaml" {
		if aside && p.Blocked == nil {
			return nil // it is the same
		}
		return report.WriteData(w, a.output, p.Save())
	}
	if aside {
		w = a.ErrOut
	}
	canvas, err := report.CanvasOf(w, a.color, os.Getenv)
	if err != nil {
		return usageError(err)
	}
	_, err = io.WriteString(w, viewFor(canvas, a.output).text(p))
	return err
}

// savePlan writes a plan to a file, which appears complete or not at all, and is
// there after a crash of the machine, too. It is for its user alone: the command
// of a plan may hold secrets. What ends in .json is JSON, all else YAML. next says, with
// the name of the file, what can be done with it.
func (a *app) savePlan(name string, p any, next string) error {
	if name == "-" {
		format := "yaml"
		if a.output == "json" {
			format = "json"
		}
		return report.WriteData(a.Out, format, p)
	}
	format := "yaml"
	if strings.EqualFold(filepath.Ext(name), ".json") {
		format = "json"
	}
	var b bytes.Buffer
	if err := report.WriteData(&b, format, p); err != nil {
		return err
	}
	if err := writeAside(name, b.Bytes()); err != nil {
		return hint.Wrap(fmt.Errorf("save the plan: %w", err), "name another file with --out")
	}
	fmt.Fprintf(a.ErrOut, "the plan is in %s; "+next+"\n", report.Printable(name), report.Printable(shellWord(name)))
	return nil
}

// writeAside replaces a file by one with that content and mode 0600.
func writeAside(name string, content []byte) error {
	dir := filepath.Dir(name)
	f, err := os.CreateTemp(dir, ".refit-plan-*") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// shellWord quotes a name for a shell, if it needs that.
func shellWord(name string) string {
	plain := func(r rune) bool {
		return r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' || strings.ContainsRune("/._-+=:@%,", r)
	}
	if name != "" && !strings.ContainsFunc(name, func(r rune) bool { return !plain(r) }) {
		return name
	}
	return "'" + strings.ReplaceAll(name, "'", `'\''`) + "'"
}
