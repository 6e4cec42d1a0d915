// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestConvert(t *testing.T) {
	screen := "plain <a> & b\n\x1b[1mbold\x1b[0m  \x1b[1;31mred\x1b[0m rest\n\n\n"
	var out strings.Builder
	if err := convert(strings.NewReader(screen), &out, "title & more"); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"plain &lt;a&gt; &amp; b</text>", `textLength="33.6" font-weight="bold">bold<`, `font-weight="bold" fill="#ff7b72">red<`, "title &amp; more",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, out.String())
		}
	}
	decoder := xml.NewDecoder(strings.NewReader(out.String()))
	for {
		if _, err := decoder.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("not well-formed: %v", err)
		}
	}
}
