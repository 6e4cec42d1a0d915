// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"refit.dev/refit/internal/hint"
)

// refuseEmpty refuses a flag or an argument that was given and says nothing, as one does
// whose variable of the shell is not set: what stands for it otherwise may be every machine. Flags that all
// commands have are kubectl's, and an empty one is the default there; but for --namespace, which selects what is changed here.
func refuseEmpty(cmd *cobra.Command, args []string) error {
	if strings.HasPrefix(cmd.Name(), cobra.ShellCompRequestCmd) { // what is to be completed may be empty
		return nil
	}
	if slices.Contains(args, "") {
		return emptyError(errors.New("an argument is empty"))
	}
	var empty string
	own := cmd.LocalNonPersistentFlags()
	own.VisitAll(func(f *pflag.Flag) {
		values := []string{f.Value.String()}
		if v, several := f.Value.(pflag.SliceValue); several {
			values = v.GetSlice()
		}
		if kind := f.Value.Type(); kind != "string" && kind != "stringSlice" && kind != "stringArray" {
			return // zero may be printed as nothing
		}
		if f.Changed && (len(values) == 0 || slices.Contains(values, "")) {
			empty = f.Name
		}
	})
	if f := cmd.Flags().Lookup("namespace"); f != nil && f.Changed && f.Value.String() == "" {
		empty = f.Name
	}
	if empty != "" {
		return emptyError(fmt.Errorf("--%s is empty", empty))
	}
	return nil
}

func emptyError(err error) error {
	return usageError(hint.Wrap(err, "give it a value or leave it out; a variable that is not set makes one like that"))
}
