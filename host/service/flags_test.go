// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package service_test

import (
	"fmt"
	"strings"
	"testing"

	"refit.dev/refit/host/service"
)

func TestFlags(t *testing.T) {
	for words, want := range map[string]string{
		"--a=1 --b 2 -c=3 -d 4":     "[--a=1 --b=2 --c=3 --d=4] map[a:1 b:2 c:3 d:4]",
		"--a --b=":                  "[--a --b=] map[b:]",
		"/usr/bin/etcd --a 1 2 --b": "[--a=1 --b] map[a:1]",
		"--a=1 --a=2":               "[--a=1 --a=2] map[a:2]",
		"--a=x=y":                   "[--a=x=y] map[a:x=y]",
		"a b":                       "[] map[]",
	} {
		flags := service.Flags(strings.Fields(words))
		if got := fmt.Sprint(flags, " ", service.Values(flags)); got != want {
			t.Errorf("%s: %s, want %s", words, got, want)
		}
	}
	if got := service.Variable("etcd", "listen-client-urls"); got != "ETCD_LISTEN_CLIENT_URLS" {
		t.Errorf("got %s", got)
	}
}
