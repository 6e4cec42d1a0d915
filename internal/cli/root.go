// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"refit.dev/refit/cluster"
	"refit.dev/refit/internal/hint"
	"refit.dev/refit/report"
)

// app is what every verb shares: the streams and the flags of the root command.
type app struct {
	genericiooptions.IOStreams
	kube   *genericclioptions.ConfigFlags
	color  string // --color: auto, always or never
	output string // --output: text, wide, json or yaml
	yes    bool   // --yes
}

// Run runs the command line args (without the program's name, which is given as
// argv0 so that the help shows `kubectl refit` to those who call it so) and
// returns the exit code. It ends early, in order, when ctx ends.
func Run(ctx context.Context, streams genericiooptions.IOStreams, argv0 string, args []string) int {
	a := &app{IOStreams: streams, kube: genericclioptions.NewConfigFlags(true)}
	root := newRootCommand(a, argv0)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err != nil && err.Error() != "" && !readerLeft(err) {
		fmt.Fprintf(streams.ErrOut, "error: %s\n", report.Printable(err.Error()))
		if h := hint.Of(err); h != "" {
			fmt.Fprintf(streams.ErrOut, "hint: %s\n", report.Printable(h))
		}
	}
	return exitCode(err)
}

// stdoutName is what package os calls the standard output.
const stdoutName = "/dev/stdout"

// readerLeft tells whether nothing is wrong but that whoever reads the standard
// output went away, as head does when it has enough: that is not worth a message.
// It decides nothing: the exit code is that of a failure.
func readerLeft(err error) bool {
	path, ok := errors.AsType[*fs.PathError](err)
	return ok && errors.Is(path, syscall.EPIPE) && path.Path == stdoutName && err.Error() == path.Error()
}

func newRootCommand(a *app, argv0 string) *cobra.Command {
	root := &cobra.Command{
		Use:   "refit",
		Short: "Take a Kubernetes cluster through maintenance",
		Long: "refit takes a Kubernetes cluster through maintenance: it drains nodes, works on them and\n" +
			"brings them back, as fast as the disruption budgets allow and never faster.",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          usageArgs(cobra.NoArgs),

		PersistentPreRunE: refuseEmpty,
		RunE:              func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	if strings.HasPrefix(filepath.Base(argv0), "kubectl-") {
		root.Annotations = map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl refit"}
	}
	root.SetIn(a.In)
	root.SetOut(a.Out)
	root.SetErr(a.ErrOut)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return hint.Wrap(usageError(fmt.Errorf("%s: %w", cmd.CommandPath(), err)), "%s --help lists the flags", cmd.CommandPath())
	})
	a.kube.AddFlags(root.PersistentFlags())
	root.PersistentFlags().StringVar(&a.color, "color", "auto", "when to use colour and live progress: auto, always or never")
	for _, add := range verbs {
		root.AddCommand(add(a))
	}
	root.AddCommand(newOptionsCommand(a))
	strictHelp(root)
	a.offerContexts(root)
	hideGlobalFlags(root)
	return root
}

// strictHelp makes `refit help NONSENSE` fail instead of showing the help of refit.
func strictHelp(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	for _, help := range root.Commands() {
		if help.Name() != "help" {
			continue
		}
		help.PreRunE = func(_ *cobra.Command, args []string) error {
			if found, rest, err := root.Find(args); err == nil && found.HasSubCommands() && len(rest) > 0 {
				return usageArgs(cobra.NoArgs)(found, rest)
			}
			return nil
		}
	}
}

// verbs makes the commands, in the order of the help.
var verbs = []func(*app) *cobra.Command{
	newCheckCommand,
	newCordonCommand,
	newUncordonCommand,
	newDrainCommand,
	newMaintainCommand,
	newUpgradeCommand,
	newBackupCommand,
	newRestoreCommand,
	newExportCommand,
	newImportCommand,
	newOutageCommand,
	newEvictionTimeoutCommand,
	newRunsCommand,
	newTwinCommand,
	newDemoCommand,
	newVersionCommand,
}

// outputFlag adds -o to a command that prints something.
func (a *app) outputFlag(cmd *cobra.Command, formats ...string) {
	cmd.Flags().StringVarP(&a.output, "output", "o", "text", "output format: "+strings.Join(formats, ", "))
	check := cmd.PreRunE
	cmd.PreRunE = func(cmd *cobra.Command, args []string) error {
		for _, f := range formats {
			if a.output == f {
				if check != nil {
					return check(cmd, args)
				}
				return nil
			}
		}
		return usageError(fmt.Errorf("--output %q: want one of %s", a.output, strings.Join(formats, ", ")))
	}
	offer(cmd, "output", formats...)
}

// yesFlag adds --yes to a command that changes something.
func (a *app) yesFlag(cmd *cobra.Command) {
	cmd.Flags().BoolVarP(&a.yes, "yes", "y", false, "do not ask before changing the cluster")
}

// client returns the REST configuration and a client made from the kubeconfig flags. There is no
// client-side rate limit: refit paces itself by what the API server answers.
func (a *app) client() (*rest.Config, kubernetes.Interface, error) {
	config, err := a.kube.ToRESTConfig()
	if err == nil && config.Host == clientcmd.ClusterDefaults.Server && *a.kube.APIServer == "" {
		// What client-go falls back to; nobody means a server without TLS on this machine.
		if raw, rawErr := a.kube.ToRawKubeConfigLoader().RawConfig(); rawErr == nil && len(raw.Clusters) == 0 {
			err = fmt.Errorf("%s is missing or names no cluster", strings.Join(a.kube.ToRawKubeConfigLoader().ConfigAccess().GetLoadingPrecedence(), ", "))
		}
	}
	if err != nil {
		return nil, nil, hint.Wrap(usageError(fmt.Errorf("load the kubeconfig: %w", err)),
			"name a cluster with --kubeconfig and --context, or with KUBECONFIG")
	}
	config.QPS = -1
	config.UserAgent = "refit/" + version()
	// All that refit reads is of built-in types; as protobuf it is smaller and quicker to decode.
	config.ContentType = runtime.ContentTypeProtobuf
	config.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	config.Wrap(cluster.AwaitServer)
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, nil, usageError(fmt.Errorf("make a client for %s: %w", config.Host, err))
	}
	return config, client, nil
}

// usageError marks err as wrong usage or input.
func usageError(err error) error {
	if _, ok := errors.AsType[*exitError](err); ok || err == nil {
		return err
	}
	return exitWith(exitUsage, err)
}

// usageArgs makes a check of arguments fail as wrong usage.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		err := usageError(check(cmd, args))
		if err == nil {
			return nil
		}
		if !cmd.HasSubCommands() {
			if none := cobra.NoArgs(cmd, args); none != nil && none.Error() == err.Error() { // it calls them commands
				err = usageError(fmt.Errorf("%s takes no arguments: %s", cmd.CommandPath(), strings.Join(args, " ")))
			}
			use := strings.TrimSpace(strings.TrimPrefix(cmd.Use, cmd.Name()))
			return hint.Wrap(err, "%s --help tells more; want %s", cmd.CommandPath(), strings.TrimSpace(cmd.CommandPath()+" "+use))
		}
		if len(args) == 0 {
			return err
		}
		if cmd.SuggestionsMinimumDistance == 0 {
			cmd.SuggestionsMinimumDistance = 2 // what cobra takes by default
		}
		if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			return hint.Wrap(err, "did you mean %s %s?", cmd.CommandPath(), strings.Join(near, " or "))
		}
		return hint.Wrap(err, "%s --help lists the commands", cmd.CommandPath())
	}
}
