// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package release

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"strings"

	"refit.dev/refit/internal/hint"
)

// mostSum is how long the file with a sum may be, mostBinary how large a binary.
const mostSum, mostBinary = 4 << 10, 1 << 30

// sum is what a file is to have.
type sum struct {
	kind string // sha256 or sha512
	want string
}

func (s sum) hash() hash.Hash {
	if s.kind == "sha512" {
		return sha512.New()
	}
	return sha256.New()
}

// sums reads the sums of a file: all that there are, one at least.
func (s *Source) sums(ctx context.Context, f File) ([]sum, error) {
	var all []sum
	for _, kind := range []string{"sha256", "sha512"} {
		want, err := s.readSum(ctx, f.Path()+"."+kind)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return nil, fmt.Errorf("read %s.%s in %s: %w", f.Path(), kind, s, err)
		}
		x := sum{kind, want}
		if raw, err := hex.DecodeString(want); err != nil || len(raw) != x.hash().Size() {
			return nil, fmt.Errorf("%s.%s in %s has no sum in it", f.Path(), kind, s)
		}
		all = append(all, x)
	}
	if len(all) == 0 {
		return nil, hint.Wrap(fmt.Errorf("%s.sha256 or .sha512 in %s: %w", f.Path(), s, ErrMissing), "put the release there, with its sums")
	}
	return all, nil
}

// readSum reads the sum out of a file that has it alone, or in front of a name.
func (s *Source) readSum(ctx context.Context, path string) (string, error) {
	r, err := s.place.open(ctx, path)
	if err != nil {
		return "", err
	}
	defer r.Close()
	text, err := io.ReadAll(io.LimitReader(r, mostSum))
	if err != nil {
		return "", err
	}
	word, _, _ := strings.Cut(strings.TrimSpace(string(text)), " ")
	return strings.ToLower(word), nil
}

// check reads a file and compares it with its sums.
func check(path string, sums []sum) (Binary, error) {
	f, err := os.Open(path)
	if err != nil {
		return Binary{}, err
	}
	defer f.Close()
	plain := sha256.New()
	writers, hashes := []io.Writer{plain}, make([]hash.Hash, len(sums))
	for i, x := range sums {
		hashes[i] = x.hash()
		writers = append(writers, hashes[i])
	}
	n, err := io.Copy(io.MultiWriter(writers...), io.LimitReader(f, mostBinary+1))
	switch {
	case err != nil:
		return Binary{}, err
	case n > mostBinary:
		return Binary{}, fmt.Errorf("it has more than %d MiB", mostBinary>>20)
	}
	for i, x := range sums {
		if has := hex.EncodeToString(hashes[i].Sum(nil)); has != x.want {
			return Binary{}, hint.Wrap(fmt.Errorf("its %s is %s, and is to be %s", x.kind, has, x.want), "it was damaged or changed: get it again from where it came from")
		}
	}
	return Binary{Path: path, SHA256: hex.EncodeToString(plain.Sum(nil)), Size: n}, nil
}
