// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package supervise

import (
	"fmt"
	"os"
	"sync"
)

// maxLog is the size at which a log is put aside as NAME.1: a child that
// complains for days takes at most twice this much of the disk.
const maxLog = 16 << 20

// boundedLog is a file that never grows beyond maxLog bytes.
type boundedLog struct {
	path string
	mu   sync.Mutex
	file *os.File
	size int64
}

func openLog(path string) (*boundedLog, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("open log: %w", err)
	}
	return &boundedLog{path: path, file: f, size: info.Size()}, nil
}

// Write appends p. A log that cannot be written must not end the child whose
// pipe it drains, so problems with the file lose lines and are not reported.
func (l *boundedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.size+int64(len(p)) > maxLog {
		l.rotate()
	}
	if l.file != nil {
		n, _ := l.file.Write(p)
		l.size += int64(n)
	}
	return len(p), nil
}

func (l *boundedLog) rotate() {
	if l.file != nil {
		_ = l.file.Close()
	}
	_ = os.Rename(l.path, l.path+".1")
	l.size = 0
	l.file, _ = os.OpenFile(l.path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
}
