// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package provider

import (
	"bytes"
	"encoding/base64"
	"strings"
)

// hidden stands for a secret in what is shown.
const hidden = "[token]"

// redactMargin is how many bytes more than what is shown have to be looked at, so that a
// secret which is cut off at their beginning, in base64 even, ends before what is shown.
const redactMargin = 256

// shown is the end of a text, at most so many bytes of it, without a secret: neither as it is nor in
// base64, as commands put it into the user data of a machine, broken into lines or not.
func shown(data []byte, secret string, most int) string {
	hide := make([]bool, len(data))
	if secret != "" {
		hidePlain(data, secret, hide)
		hideEncoded(data, secret, hide)
	}
	var b strings.Builder
	for i := max(0, len(data)-most); i < len(data); i++ {
		switch {
		case !hide[i]:
			b.WriteByte(data[i])
		case !strings.HasSuffix(b.String(), hidden):
			b.WriteString(hidden)
		}
	}
	return b.String()
}

func hidePlain(data []byte, secret string, hide []bool) {
	for at := 0; ; at++ {
		next := bytes.Index(data[at:], []byte(secret))
		if next < 0 {
			return
		}
		at += next
		for i := range len(secret) {
			hide[at+i] = true
		}
	}
}

// hideEncoded decodes what could be base64, from each of the four places where a group of letters may begin.
func hideEncoded(data []byte, secret string, hide []bool) {
	var letters []byte
	var from []int // where in data each letter is
	for i, c := range data {
		switch {
		case c == '-':
			c = '+' // as base64url has them
		case c == '_':
			c = '/'
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '+' || c == '/':
		default:
			continue
		}
		letters, from = append(letters, c), append(from, i)
	}
	for off := range min(4, len(letters)) {
		plain := make([]byte, base64.RawStdEncoding.DecodedLen(len(letters)-off))
		n, _ := base64.RawStdEncoding.Decode(plain, letters[off:]) // a rest of one letter is none
		plain = plain[:n]
		for at := 0; ; at++ {
			next := bytes.Index(plain[at:], []byte(secret))
			if next < 0 {
				break
			}
			at += next
			for i := off + at/3*4; i < min(len(from), off+(at+len(secret)+2)/3*4); i++ {
				hide[from[i]] = true
			}
		}
	}
}
