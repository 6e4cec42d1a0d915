// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/utils/clock"

	"refit.dev/refit/cluster"
	"refit.dev/refit/internal/hint"
)

// Log takes the records of a run. Append returns once the record is on disk;
// if it returns an error, what the record announces must not be done.
type Log interface {
	Append(Record) error
}

// file is what a Journal needs of an *os.File.
type file interface {
	io.Writer
	Sync() error
}

// Journal is the append-only record of one run. Whoever has it open holds the
// run: a lock on the file keeps every other process out until Close, or until
// this one is dead. It is safe for concurrent use.
type Journal struct {
	path  string
	clock clock.PassiveClock
	close func() error

	mu     sync.Mutex
	file   file
	seq    int   // of the last record
	broken error // what the first write that failed said
}

const journalName = "journal.ndjson"

// createJournal makes the journal of a new run in dir, which must not exist,
// with spec as its first record. Nothing was recorded if it fails.
func createJournal(ctx context.Context, dir string, spec *Spec, clk clock.PassiveClock, wrap func(file) file) (*Journal, error) {
	fail := func(err error) (*Journal, error) {
		return nil, hint.Wrap(fmt.Errorf("create the journal of run %s: %w", spec.Run, err),
			"nothing was changed; make room for the journal, or set REFIT_STATE_DIR to a directory that can be written")
	}
	if err := spec.validate(); err != nil {
		return fail(err)
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return fail(err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fail(err)
	}
	path := filepath.Join(dir, journalName)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fail(errors.Join(err, os.Remove(dir)))
	}
	j := newJournal(f, clk, wrap)
	if err = lockFile(ctx, f); err == nil {
		err = j.Append(Record{Kind: KindCreated, Spec: spec})
	}
	for d := dir; err == nil && d != filepath.Dir(filepath.Dir(filepath.Dir(dir))); d = filepath.Dir(d) {
		err = syncDir(d) // the file's name must be on disk as well as its content
	}
	if err != nil {
		return fail(errors.Join(err, f.Close(), os.RemoveAll(dir)))
	}
	return j, nil
}

func newJournal(f *os.File, clk clock.PassiveClock, wrap func(file) file) *Journal {
	j := &Journal{path: f.Name(), clock: clk, close: f.Close, file: f}
	if wrap != nil {
		j.file = wrap(f)
	}
	return j
}

// openJournal takes up the journal in dir. It fails with errHeld while another
// process has it. The last record may be half written, because its process was
// killed: then torn is how many bytes were cut off.
func openJournal(ctx context.Context, dir string, clk clock.PassiveClock, wrap func(file) file) (j *Journal, records []Record, torn int, err error) {
	path := filepath.Join(dir, journalName)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND, 0)
	if err != nil {
		return nil, nil, 0, hint.Wrap(fmt.Errorf("open the journal: %w", err), "a run can only be carried on by a user who may write its journal")
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	if err := lockFile(ctx, f); err != nil {
		return nil, nil, 0, fmt.Errorf("%s: %w", path, err)
	}
	data, err := io.ReadAll(f)
	if err != nil {
		return nil, nil, 0, fmt.Errorf("read %s: %w", path, err)
	}
	records, torn, err = readable(path, data)
	if err != nil {
		return nil, nil, 0, err
	}
	if torn > 0 {
		if err := f.Truncate(int64(len(data) - torn)); err != nil {
			return nil, nil, 0, fmt.Errorf("cut the torn record off %s: %w", path, err)
		}
		if err := f.Sync(); err != nil {
			return nil, nil, 0, fmt.Errorf("cut the torn record off %s: %w", path, err)
		}
	}
	j = newJournal(f, clk, wrap)
	j.seq = len(records)
	return j, records, torn, nil
}

// readJournal reads the journal in dir without taking it.
func readJournal(dir string) ([]Record, error) {
	path := filepath.Join(dir, journalName)
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the journal: %w", err)
	}
	records, _, err := readable(path, data)
	return records, err
}

func readable(path string, data []byte) (records []Record, torn int, err error) {
	records, torn, err = decode(data)
	if err == nil && len(records) > 0 {
		err = belongs(records[0].Spec, filepath.Base(filepath.Dir(path)))
	}
	if err != nil {
		return nil, 0, hint.Wrap(fmt.Errorf("%s: %w", path, err),
			"the journal was changed by something else than refit; restore the file, or give the nodes that carry the annotation %s "+
				"or the taint %s of this run to refit uncordon, and remove its directory", cluster.CordonAnnotation, cluster.TaintKey)
	}
	if len(records) == 0 {
		return nil, 0, hint.Wrap(fmt.Errorf("%s: it holds no complete record", path),
			"the run was ended before it changed anything, or the file was emptied; if no node carries the annotation %s "+
				"or the taint %s of this run, remove its directory", cluster.CordonAnnotation, cluster.TaintKey)
	}
	return records, torn, nil
}

// belongs fails if spec is not that of the run whose directory it was found in:
// two directories for one run would be two processes that take each other for dead.
func belongs(spec *Spec, run string) error {
	if spec.Run != run {
		return fmt.Errorf("it is the journal of run %q", spec.Run)
	}
	spec.fill() // what an older version of refit did not write
	return spec.validate()
}

// Append writes a record and waits until it is on disk. It fills in the
// sequence number and the time. After one failure every further record is
// refused: what is on disk is no longer known.
func (j *Journal) Append(r Record) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.broken != nil {
		return j.broken
	}
	r.Seq, r.Time = j.seq+1, j.clock.Now().UTC()
	line, err := encode(r)
	if err == nil {
		_, err = j.file.Write(line)
	}
	if err == nil {
		err = j.file.Sync()
	}
	if err != nil {
		j.broken = &JournalError{Path: j.path, Err: err}
		return j.broken
	}
	j.seq++
	return nil
}

// Close gives the run up for other processes to take.
func (j *Journal) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.broken == nil {
		j.broken = &JournalError{Path: j.path, Err: os.ErrClosed}
	}
	return j.close()
}

// JournalError says that a record could not be written, so that nothing more is done.
type JournalError struct {
	Path string
	Err  error
}

func (e *JournalError) Error() string { return fmt.Sprintf("write the journal %s: %v", e.Path, e.Err) }
func (e *JournalError) Unwrap() error { return e.Err }

// errHeld says that a living process has the run.
var errHeld = errors.New("another process is working on this run")

// lockPoll is how often a lock is tried again; the system offers no wait that a
// context could end.
const lockPoll = 5 * time.Millisecond

// lockFile takes the lock on f, which ends with the process. It fails with errHeld
// if somebody works on the run. Those who only look whether somebody does share the
// lock for an instant: it waits for them until ctx ends.
func lockFile(ctx context.Context, f *os.File) error {
	tick := clock.RealClock{}.NewTicker(lockPoll) // the system's locks know no other
	defer tick.Stop()
	for {
		err := flock(f, unix.LOCK_EX)
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return err
		}
		if err := flock(f, unix.LOCK_SH); errors.Is(err, unix.EWOULDBLOCK) {
			return errHeld // not shared: by somebody who works on the run
		} else if err != nil {
			return err
		}
		if err := flock(f, unix.LOCK_UN); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for a process that looks at it: %w", context.Cause(ctx))
		case <-tick.C():
		}
	}
}

func flock(f *os.File, how int) error {
	for {
		err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil && !errors.Is(err, unix.EWOULDBLOCK) {
			return fmt.Errorf("lock %s: %w", f.Name(), err)
		}
		return err
	}
}

// held tells whether a living process has the journal in dir.
func held(dir string) (bool, error) {
	f, err := os.Open(filepath.Join(dir, journalName))
	if err != nil {
		return false, err
	}
	defer f.Close()
	err = flock(f, unix.LOCK_SH)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return true, nil
	}
	return false, err
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
