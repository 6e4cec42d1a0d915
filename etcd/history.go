// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"cmp"
	"fmt"
	"hash/crc32"
	"slices"

	"go.etcd.io/bbolt"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/server/v3/storage/schema"
	"google.golang.org/protobuf/proto"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"refit.dev/refit/etcd/atrest"
)

// history is what has become of every key.
type history struct {
	latest revision
	// last is the last change of each key, live how many of them are there.
	last map[string]revision
	live int
}

// add takes the next change, in the order of the revisions.
func (h *history) add(k, v []byte) error {
	r, err := parseRevision(k)
	if err != nil {
		return err
	}
	kv, err := parseChange(r, v)
	if err != nil {
		return err
	}
	before, known := h.last[string(kv.Key)]
	if known && !before.gone {
		h.live--
	}
	if !r.gone {
		h.live++
	}
	h.last[string(kv.Key)] = r
	h.latest = r
	return nil
}

// parseChange reads a value of the bucket "key".
func parseChange(r revision, v []byte) (*mvccpb.KeyValue, error) {
	kv := &mvccpb.KeyValue{}
	if err := proto.Unmarshal(v, kv); err != nil {
		return nil, fmt.Errorf("%w: the change at revision %d cannot be read: %w", ErrDamaged, r.main, err)
	}
	return kv, nil
}

// readLive counts what is there in the end, and computes HashKV as etcd's kvHasher does
// (go.etcd.io/etcd/server/v3/storage/mvcc/hash.go): of what was compacted only the last
// change of each key that is there counts, and no deletion at the compacted revision.
func (s *Status) readLive(tx *bbolt.Tx, h *history, visit func(key, value []byte)) error {
	sum := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	_, _ = sum.Write(schema.Key.Name()) // a hash takes everything
	counts := map[resourceName]*Resource{}
	err := each(tx, schema.Key.Name(), func(k, v []byte) error {
		r, err := parseRevision(k)
		if err != nil {
			return err
		}
		kv, err := parseChange(r, v)
		if err != nil {
			return err
		}
		live := !r.gone && h.last[string(kv.Key)] == r
		// Where nothing is kept, etcd takes it that nothing is to be compacted.
		old := r.main <= s.CompactRevision && !live && h.live > 0
		if !old && (r.main != s.CompactRevision || !r.gone) {
			_, _ = sum.Write(k)
			_, _ = sum.Write(v)
		}
		if live && len(kv.Key) > 0 {
			s.Keys++
			s.count(counts, kv.Key, kv.Value)
			if visit != nil {
				visit(kv.Key, kv.Value)
			}
		}
		return nil
	})
	s.HashKV = sum.Sum32()
	for _, r := range counts {
		s.Resources = append(s.Resources, *r)
	}
	slices.SortFunc(s.Resources, func(a, b Resource) int {
		return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.Name, b.Name))
	})
	return err
}

// count counts one key that is there.
func (s *Status) count(counts map[resourceName]*Resource, key, value []byte) {
	name, ok := resourceOf(key)
	if !ok {
		s.OtherKeys++
		return
	}
	if string(key) == registry+"namespaces/"+metav1.NamespaceSystem {
		s.ClusterUID = uidOf(value)
	}
	encrypted := atrest.IsEncrypted(value)
	if name.group == "" && !encrypted {
		name.group = groupOf(value)
	}
	r := counts[name]
	if r == nil {
		r = &Resource{Group: name.group, Name: name.name}
		counts[name] = r
	}
	r.Objects++
	r.Bytes += int64(len(key) + len(value))
	if encrypted {
		r.Encrypted++
	}
}
