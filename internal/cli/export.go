// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/utils/clock"

	"refit.dev/refit/drain"
	"refit.dev/refit/event"
	"refit.dev/refit/export"
	"refit.dev/refit/internal/hint"
	"refit.dev/refit/internal/phrase"
	"refit.dev/refit/served"
	"refit.dev/refit/vault/seal"
)

// exportFlags are those of refit export, as given.
type exportFlags struct {
	selector, secrets, format      string
	kinds, exclude                 []string
	recipients, recipientFiles     []string
	generated, reselect, overwrite bool
	skip                           bool
}

// The values of --format.
const (
	formatFiles = "files"
	formatList  = "list"
)

func newExportCommand(a *app) *cobra.Command {
	var f exportFlags
	cmd := &cobra.Command{
		Use:   "export DIR",
		Short: "Write the objects of the cluster as files, all of one moment",
		Long: "Write all that somebody has put into the cluster as files, DIR/NAMESPACE/KIND.GROUP/NAME.yaml, objects without\n" +
			"a namespace below DIR/_cluster. Every resource is read at the same resource version; what could not be is named.\n" +
			"Status, managed fields and whatever else the server adds are left out, so that the same cluster gives the same\n" +
			"bytes: DIR can live in git. Another export into DIR removes the files of objects that are gone, and touches no file\n" +
			"that it has not written.\n\n" +
			"Left out are: Secrets, unless --secrets says what to do with them; what controllers make by themselves\n" +
			"(pods of Deployments, EndpointSlices), what the control plane makes in every cluster, Nodes, Events, Leases, Jobs\n" +
			"that have run, and what is being deleted. --include-generated takes what is made as well; a kind named with --kind is\n" +
			"taken as it is.\n\n" +
			"The exit code is 1 if some resource could not be read, unless --skip-unreadable; everything else is written all the same.",
		Example: "  # Everything, into a git repository\n" +
			"  refit export cluster/ && git -C cluster add -A && git -C cluster commit -m \"cluster of today\"\n\n" +
			"  # With Secrets, that only one key can read\n" +
			"  refit export cluster/ --secrets=encrypt --recipient age1...\n\n" +
			"  # One namespace; of all namespaces the Deployments of a team\n" +
			"  refit export shop/ -n shop\n" +
			"  refit export web/ --kind deployments -l team=web\n\n" +
			"  # One file, as kubectl get -A -o yaml writes it, but with all kinds\n" +
			"  refit export --format list all.yaml",
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error { return a.export(cmd.Context(), args[0], &f) },
	}
	f.add(cmd.Flags())
	offer(cmd, "secrets", string(export.SecretsOmit), string(export.SecretsEncrypt), string(export.SecretsPlain))
	offer(cmd, "format", formatFiles, formatList)
	a.outputFlag(cmd, "text", "json", "yaml")
	return cmd
}

func (f *exportFlags) add(flags *pflag.FlagSet) {
	flags.StringVarP(&f.selector, "selector", "l", "", "only objects with these labels")
	flags.StringSliceVar(&f.kinds, "kind", nil, "only these kinds, as kubectl takes them (deploy, deployments.apps), whoever made them")
	flags.StringSliceVar(&f.exclude, "exclude-kind", nil, "not these kinds")
	flags.BoolVar(&f.generated, "include-generated", false, "also what controllers, the control plane and machines make by themselves")
	flags.StringVar(&f.secrets, "secrets", string(export.SecretsOmit), "omit Secrets, encrypt each to --recipient, or write them plain")
	flags.StringArrayVar(&f.recipients, "recipient", nil, "who can decrypt Secrets: a public key of age (age1...) or SSH; can be given several times")
	flags.StringArrayVar(&f.recipientFiles, "recipients-file", nil, "a file of recipients, one a line")
	flags.StringVar(&f.format, "format", formatFiles, "files in a directory, or a list: one file, or - for the standard output")
	flags.BoolVar(&f.reselect, "reselect", false, "DIR may hold an export of another selection, or of another cluster, whose files are replaced")
	flags.BoolVar(&f.overwrite, "overwrite", false, "with --format list: replace the file if it is there")
	flags.BoolVar(&f.skip, "skip-unreadable", false, "resources that cannot be read are no failure")
}

// parse checks the flags.
func (f *exportFlags) parse(namespace string) (export.Options, error) {
	s := export.Selection{Kinds: f.kinds, Exclude: f.exclude, Generated: f.generated, Secrets: export.Secrets(f.secrets)}
	o := export.Options{Reselect: f.reselect}
	if namespace != "" {
		s.Namespaces = strings.Split(namespace, ",")
		for _, name := range s.Namespaces {
			if wrong := validation.IsDNS1123Label(name); len(wrong) > 0 {
				return o, fmt.Errorf("--namespace %q: %s", name, strings.Join(wrong, "; "))
			}
		}
	}
	if f.selector != "" {
		var err error
		if s.Labels, err = labels.Parse(f.selector); err != nil {
			return o, fmt.Errorf("--selector %q: %w", f.selector, err)
		}
	}
	switch s.Secrets {
	case export.SecretsOmit, export.SecretsPlain:
		switch {
		case len(f.recipients) > 0:
			return o, errors.New("--recipient goes with --secrets=encrypt")
		case len(f.recipientFiles) > 0:
			return o, errors.New("--recipients-file goes with --secrets=encrypt")
		}
	case export.SecretsEncrypt:
		var err error
		if o.Recipients, err = seal.ReadRecipients(f.recipients, f.recipientFiles); err != nil {
			return o, err
		}
	default:
		return o, fmt.Errorf("--secrets %q: want omit, encrypt or plain", f.secrets)
	}
	if f.format != formatFiles && f.format != formatList {
		return o, fmt.Errorf("--format %q: want files or list", f.format)
	}
	if f.overwrite && f.format != formatList {
		return o, errors.New("--overwrite goes with --format list")
	}
	o.Selection = s
	return o, nil
}

func (a *app) export(ctx context.Context, to string, f *exportFlags) error {
	options, err := f.parse(*a.kube.Namespace)
	if err != nil {
		return usageError(err)
	}
	stdout := f.format == formatList && to == "-"
	if stdout && a.output != "text" {
		return usageError(errors.New("the standard output cannot take the list and events: name a file, or leave --output out"))
	}
	config, _, err := a.client()
	if err != nil {
		return err
	}
	started := clock.RealClock{}.Now()
	api, err := served.Read(ctx, config)
	if err != nil {
		return interrupted(ctx, err)
	}
	cut, err := export.Read(ctx, api, options.Selection)
	if errors.Is(err, export.ErrSelection) {
		return usageError(err)
	}
	if err != nil {
		return interrupted(ctx, err)
	}
	summary := event.Event{Type: event.Summary, Result: event.ResultDone, ResourceVersion: cut.ResourceVersion, Objects: map[string]int{"exported": len(cut.Objects)}}
	for reason, n := range cut.LeftOut {
		summary.Objects[string(reason)] = n
	}
	if f.format == formatList {
		err = a.exportList(to, cut, options, f)
	} else {
		var written *export.Written
		if written, err = export.Write(to, cut, options); err == nil {
			summary.Files = map[string]int{"new": written.New, "changed": written.Changed, "unchanged": written.Unchanged, "removed": written.Removed, "kept": written.Kept}
		}
	}
	if errors.Is(err, export.ErrDirectory) {
		return usageError(err)
	}
	if err != nil {
		return err
	}
	summary.Seconds = clock.RealClock{}.Since(started).Seconds()
	return a.tellExport(to, cut, &summary, f)
}

// exportList writes a Cut as one document.
func (a *app) exportList(to string, cut *export.Cut, o export.Options, f *exportFlags) error {
	text := export.List(cut)
	secret := slices.ContainsFunc(cut.Objects, func(x export.Object) bool { return x.Secret })
	if !o.Recipients.None() {
		var err error
		if text, err = o.Recipients.Encrypt(text); err != nil {
			return err
		}
	}
	if to == "-" {
		_, err := a.Out.Write(text)
		return err
	}
	if _, err := os.Lstat(to); err == nil && len(cut.Unread) > 0 && !f.skip {
		var lacks []string
		for _, u := range cut.Unread {
			lacks = append(lacks, u.Resource)
		}
		return usageError(hint.Wrap(fmt.Errorf("%s was kept as it was: the new list would lack what could not be read (%s)", to, phrase.Few(lacks, 5)),
			"write another file, or say --skip-unreadable if the list may lack it"))
	}
	return export.WriteList(filepath.Clean(to), text, secret, f.overwrite)
}

// tellExport says what was exported, and what not.
func (a *app) tellExport(to string, cut *export.Cut, summary *event.Event, f *exportFlags) error {
	reporter, err := a.reporter(drain.DryRunNone)
	if err != nil {
		return err
	}
	now := clock.RealClock{}.Now()
	for _, u := range cut.Unread {
		reporter.Emit(event.Event{Time: now, Type: event.Warning, Message: u.Resource + " could not be read: " + u.Why})
	}
	if len(cut.Torn) > 0 {
		reporter.Emit(event.Event{Time: now, Type: event.Warning, Message: fmt.Sprintf("not of resource version %s but of a later moment: %s", cut.ResourceVersion, strings.Join(cut.Torn, ", "))})
	}
	summary.Time = now
	summary.Message = exportText(to, cut, summary)
	if len(cut.Unread) > 0 && !f.skip {
		summary.Result = event.ResultFailed
		summary.Hint = "files of what could not be read were kept as they were; --skip-unreadable makes it no failure"
		if f.format == formatList {
			summary.Hint = "the list lacks what could not be read; --skip-unreadable makes it no failure"
		}
	}
	reporter.Emit(*summary)
	if err := reporter.Close(); err != nil {
		return err
	}
	if code := resultCode(summary.Result); code != exitDone {
		return exitWith(code, nil)
	}
	return nil
}

// exportText is the end of a report.
func exportText(to string, cut *export.Cut, summary *event.Event) string {
	text := fmt.Sprintf("%s as of resource version %s in %s", phrase.Count(len(cut.Objects), "object"), cut.ResourceVersion, to)
	if n := summary.Files; n != nil {
		text += fmt.Sprintf(": %d new, %d changed, %d unchanged, %d removed", n["new"], n["changed"], n["unchanged"], n["removed"])
		if n["kept"] > 0 {
			text += fmt.Sprintf(", %d kept", n["kept"])
		}
	}
	var left []string
	for reason, n := range cut.LeftOut {
		left = append(left, fmt.Sprintf("%d %s", n, reason))
	}
	slices.Sort(left)
	if len(left) > 0 {
		text += "; left out: " + strings.Join(left, ", ")
	}
	return text
}
