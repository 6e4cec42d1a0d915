// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package provider

import (
	"crypto/sha256"
	"encoding/hex"
)

// bounded keeps the first bytes that are written to it, or the last. It takes them all, so that who
// writes does not stand still.
type bounded struct {
	most int
	last bool
	data []byte
	cut  bool
}

func (b *bounded) Write(p []byte) (int, error) {
	b.data = append(b.data, p...)
	if over := len(b.data) - b.most; over > 0 {
		b.cut = true
		if b.last {
			b.data = append(b.data[:0], b.data[over:]...)
		} else {
			b.data = b.data[:b.most]
		}
	}
	return len(p), nil
}

// digest tells texts apart that look alike as names of files.
func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:4])
}
