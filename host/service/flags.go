// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package service

import "strings"

// Flags are those among the words of a command, "--name=value" each, and "--name" where no value
// follows. One dash is as good as two, as for programs with the flags of Go's library; a word that
// begins with a dash is no value of the flag before it.
func Flags(words []string) []string {
	var flags []string
	for _, word := range words {
		last := len(flags) - 1
		switch {
		case strings.HasPrefix(word, "-"):
			flags = append(flags, "--"+strings.TrimLeft(word, "-"))
		case last >= 0 && !strings.Contains(flags[last], "="):
			flags[last] += "=" + word
		}
	}
	return flags
}

// Values are the last values of Flags by name, without dashes. Flags without a value are left out.
func Values(flags []string) map[string]string {
	values := map[string]string{}
	for _, flag := range flags {
		if name, value, given := strings.Cut(strings.TrimPrefix(flag, "--"), "="); given {
			values[name] = value
		}
	}
	return values
}

// Variable is the name of the variable by which a flag of a program is set too, if it has such:
// ETCD_DATA_DIR for etcd and data-dir (https://etcd.io/docs/v3.6/op-guide/configuration/).
func Variable(program, flag string) string {
	return strings.ToUpper(program + "_" + strings.ReplaceAll(flag, "-", "_"))
}
