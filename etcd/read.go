// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/server/v3/storage/schema"
	"google.golang.org/protobuf/proto"

	"refit.dev/refit/internal/hint"
)

// lockPatience is how long a file that a running etcd has locked is waited for.
const lockPatience = time.Second

// maxComplaints is how many of bbolt's findings about a damaged file are told.
const maxComplaints = 5

// readStatus reads all of a file. It may panic or end the process on a damaged one, and
// runs in a Worker. If visit is not nil it gets each key that is there, with its value.
func readStatus(path string, visit func(key, value []byte)) (*Status, error) {
	f, size, err := openSnapshot(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	s := &Status{Resources: []Resource{}, Alarms: []Alarm{}, Members: []Member{}}
	if s.SHA256, err = checkSum(f, path, size); err != nil {
		return nil, err
	}
	return s, bounded(size, func() error {
		return view(path, func(tx *bbolt.Tx) error {
			if tx.Size() > size {
				return fmt.Errorf("%w: the database has %d bytes, the file %d: it was cut off", ErrDamaged, tx.Size(), size)
			}
			if err := check(tx); err != nil {
				return err
			}
			return s.read(tx, visit)
		})
	})
}

// view opens a database for reading, without changing it.
func view(path string, do func(*bbolt.Tx) error) (err error) {
	db, err := bbolt.Open(path, 0, &bbolt.Options{ReadOnly: true, Timeout: lockPatience})
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return hint.Wrap(fmt.Errorf("%s is in use by a running etcd", path), "save a snapshot with `refit backup save`; the file of a live database is none")
	case errors.Is(err, os.ErrPermission):
		return err
	case err != nil:
		return fmt.Errorf("%s: %w: %w", path, ErrDamaged, err)
	}
	if err := db.View(do); err != nil {
		return fmt.Errorf("%s: %w", path, err) // the check may still look at its pages
	}
	return db.Close()
}

// check has bbolt look whether every page is referred to once and every key is in order.
// It stops listening after some complaints: about pages that refer to each other there
// would be no end of them.
func check(tx *bbolt.Tx) error {
	var found []string
	for err := range tx.Check() {
		if found = append(found, err.Error()); len(found) == maxComplaints {
			break
		}
	}
	if len(found) == 0 {
		return nil
	}
	return fmt.Errorf("%w: its pages are wrong: %s", ErrDamaged, strings.Join(found, "; "))
}

// read fills in all fields but SHA256.
func (s *Status) read(tx *bbolt.Tx, visit func(key, value []byte)) error {
	s.TotalSize = tx.Size()
	if v := schema.ReadStorageVersionFromSnapshot(tx); v != nil {
		s.Version = v.String()
	}
	h := &history{last: map[string]revision{}}
	sum := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	err := tx.ForEach(func(name []byte, b *bbolt.Bucket) error {
		_, _ = sum.Write(name) // a hash takes everything
		isKeys := bytes.Equal(name, schema.Key.Name())
		return b.ForEach(func(k, v []byte) error {
			_, _ = sum.Write(k)
			_, _ = sum.Write(v)
			if isKeys {
				return h.add(k, v)
			}
			return nil
		})
	})
	if err != nil {
		return err
	}
	s.Hash, s.Revision, s.TotalKeys = sum.Sum32(), h.latest.main, h.live
	if s.CompactRevision, err = compacted(tx); err != nil {
		return err
	}
	if err := s.readLive(tx, h, visit); err != nil {
		return err
	}
	return errors.Join(s.readLeases(tx), s.readAlarms(tx), s.readMembers(tx))
}

// compacted is the revision that etcd takes for compacted once it runs on the database.
func compacted(tx *bbolt.Tx) (int64, error) {
	latest := int64(-1)
	meta := tx.Bucket(schema.Meta.Name())
	if meta == nil {
		return 0, fmt.Errorf("%w: it has no bucket %q", ErrDamaged, schema.Meta.Name())
	}
	for _, name := range [][]byte{schema.FinishedCompactKeyName, schema.ScheduledCompactKeyName} {
		value := meta.Get(name)
		if value == nil {
			continue
		}
		r, err := parseRevision(value)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", name, err)
		}
		latest = max(latest, r.main)
	}
	return latest, nil
}

func (s *Status) readLeases(tx *bbolt.Tx) error {
	return each(tx, schema.Lease.Name(), func(_, _ []byte) error {
		s.Leases++
		return nil
	})
}

func (s *Status) readAlarms(tx *bbolt.Tx) error {
	return each(tx, schema.Alarm.Name(), func(k, _ []byte) error {
		var a etcdserverpb.AlarmMember
		if err := proto.Unmarshal(k, &a); err != nil {
			return fmt.Errorf("%w: an alarm cannot be read: %w", ErrDamaged, err)
		}
		s.Alarms = append(s.Alarms, Alarm{Member: memberID(a.MemberID), Alarm: a.Alarm.String()})
		return nil
	})
}

func (s *Status) readMembers(tx *bbolt.Tx) error {
	err := each(tx, schema.Members.Name(), func(k, v []byte) error {
		var m struct {
			Name       string   `json:"name"`
			PeerURLs   []string `json:"peerURLs"`
			ClientURLs []string `json:"clientURLs"`
			Learner    bool     `json:"isLearner"`
		}
		if err := json.Unmarshal(v, &m); err != nil {
			return fmt.Errorf("%w: member %q cannot be read: %w", ErrDamaged, k, err)
		}
		s.Members = append(s.Members, Member{ID: string(k), Name: m.Name, PeerURLs: m.PeerURLs, ClientURLs: m.ClientURLs, Learner: m.Learner})
		return nil
	})
	slices.SortFunc(s.Members, func(a, b Member) int { return strings.Compare(a.ID, b.ID) })
	return err
}

// memberID writes IDs as etcd's tools do.
func memberID(id uint64) string { return strconv.FormatUint(id, 16) }

// each goes over a bucket that need not be there.
func each(tx *bbolt.Tx, bucket []byte, do func(k, v []byte) error) error {
	b := tx.Bucket(bucket)
	if b == nil {
		return nil
	}
	return b.ForEach(do)
}

// revision is the place of a change in etcd's history.
type revision struct {
	main, sub int64
	// gone says that the change deleted the key.
	gone bool
}

const (
	revisionSize  = 8 + 1 + 8 // main, '_', sub
	tombstoneMark = 't'
)

// parseRevision reads a key of the bucket "key"
// (go.etcd.io/etcd/server/v3/storage/mvcc, BytesToBucketKey).
func parseRevision(k []byte) (revision, error) {
	deleted := len(k) == revisionSize+1
	if len(k) != revisionSize && !deleted || k[8] != '_' || deleted && k[revisionSize] != tombstoneMark {
		return revision{}, fmt.Errorf("%w: %x is no revision", ErrDamaged, k)
	}
	r := revision{main: int64(binary.BigEndian.Uint64(k)), sub: int64(binary.BigEndian.Uint64(k[9:])), gone: deleted}
	if r.main < 0 || r.sub < 0 {
		return revision{}, fmt.Errorf("%w: %x is a revision below 0", ErrDamaged, k)
	}
	return r, nil
}
