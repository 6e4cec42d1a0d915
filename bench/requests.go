// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// auditCursor reads an audit log from where it was last left.
type auditCursor struct {
	path   string
	offset int64
}

// skip moves to the end of the log: what is there already does not count.
func (c *auditCursor) skip() error {
	info, err := os.Stat(c.path)
	if err != nil {
		return fmt.Errorf("look at the audit log: %w", err)
	}
	c.offset = info.Size()
	return nil
}

// count returns how many requests were finished since the last call, or skip,
// by programs whose user agent begins with agent. A watch counts when it ends,
// as the others do.
func (c *auditCursor) count(agent string) (int, error) {
	f, err := os.Open(c.path)
	if err != nil {
		return 0, fmt.Errorf("open the audit log: %w", err)
	}
	defer f.Close()
	if _, err := f.Seek(c.offset, io.SeekStart); err != nil {
		return 0, fmt.Errorf("seek in the audit log: %w", err)
	}
	seen := map[string]bool{}
	r := bufio.NewReader(f)
	for {
		line, err := r.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return len(seen), nil // a line without its end is still being written
		}
		if err != nil {
			return 0, fmt.Errorf("read the audit log: %w", err)
		}
		c.offset += int64(len(line))
		var e struct {
			AuditID   string `json:"auditID"`
			UserAgent string `json:"userAgent"`
			Stage     string `json:"stage"`
		}
		if err := json.Unmarshal(line, &e); err != nil {
			return 0, fmt.Errorf("audit log at byte %d: %w", c.offset-int64(len(line)), err)
		}
		// A watch that is cut off by its client's end has no ResponseComplete of its own at once,
		// so a request counts by its identity, whatever stage of it was written.
		if strings.HasPrefix(e.UserAgent, agent) {
			seen[e.AuditID] = true
		}
	}
}
