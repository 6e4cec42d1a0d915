// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package vault

import (
	"crypto/rand"
	"regexp"
	"strings"
	"time"
)

// Where the parts of sets are in a store.
const (
	dataDir     = "data"
	manifestDir = "manifests"
	proofDir    = "proofs"
	jsonSuffix  = ".json"

	snapshotPart = "snapshot"
	filesPart    = "files"
)

func manifestKey(name string) string   { return manifestDir + "/" + name + jsonSuffix }
func proofKey(name string) string      { return proofDir + "/" + name + jsonSuffix }
func dataKey(name, part string) string { return dataDir + "/" + name + "/" + part }

// nameOf is the name of the set that an object belongs to, "" if it has no such place.
func nameOf(key string) string {
	dir, rest, _ := strings.Cut(key, "/")
	var name string
	switch dir {
	case manifestDir, proofDir:
		name, _ = strings.CutSuffix(rest, jsonSuffix)
	case dataDir:
		name, _, _ = strings.Cut(rest, "/")
	}
	if !isName(name) {
		return ""
	}
	return name
}

// A name is the time when the set was begun, so that names are sorted by it, and something random
// so that no two are the same.
const timeLayout = "20060102T150405.000Z"

func newName(now time.Time) string {
	return now.UTC().Format(timeLayout) + "-" + strings.ToLower(rand.Text()[:6])
}

// begunAt is the time in a name.
func begunAt(name string) (time.Time, error) {
	at, _, _ := strings.Cut(name, "-")
	return time.Parse(timeLayout, at)
}

// isName tells whether a name was made by newName; others reach no store.
func isName(name string) bool {
	return regexp.MustCompile(`^\d{8}T\d{6}\.\d{3}Z-[a-z2-7]{6}$`).MatchString(name)
}
