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

// Gaps are not left to the browser, which would close them.
func TestGaps(t *testing.T) {
	var out strings.Builder
	if err := convert(strings.NewReader("  ä  b c   d \n"), &out, ""); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`<text x="30.8" y="53" textLength="8.4">ä</text>`,
		`<text x="56.0" y="53" textLength="25.2">b c</text>`,
		`<text x="106.4" y="53" textLength="8.4">d</text>`,
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, out.String())
		}
	}
}

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
