// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"errors"
	"strings"
	"testing"
)

func TestChoose(t *testing.T) {
	leader := Candidate{Endpoint: "a", ID: 1, Leader: 1, Applied: 5000}
	follower := Candidate{Endpoint: "b", ID: 2, Leader: 1, Applied: 4990}
	ahead := Candidate{Endpoint: "c", ID: 3, Leader: 1, Applied: 4995}
	behind := Candidate{Endpoint: "d", ID: 4, Leader: 1, Applied: 3999}
	learner := Candidate{Endpoint: "e", ID: 5, Leader: 1, Applied: 5000, Learner: true}
	corrupt := Candidate{Endpoint: "f", ID: 6, Leader: 1, Applied: 5000, Corrupt: true}
	alone := Candidate{Endpoint: "g", ID: 7, Applied: 5000}
	silent := Candidate{Endpoint: "h", Err: errors.New("nobody is there"), Applied: 9000}
	stranger := Candidate{Endpoint: "i", ID: 9, Leader: 9, Applied: 1, Cluster: 1}
	for name, c := range map[string]struct {
		of   []Candidate
		want string // the endpoint
		err  string
	}{
		"the only one":              {[]Candidate{leader}, "a", ""},
		"a follower":                {[]Candidate{leader, follower}, "b", ""},
		"the follower that is most": {[]Candidate{follower, leader, ahead}, "c", ""},
		"not one that is behind":    {[]Candidate{behind, leader}, "a", ""},
		"not a learner":             {[]Candidate{learner, leader}, "a", ""},
		"not a corrupt one":         {[]Candidate{corrupt, leader}, "a", ""},
		"not who answers nothing":   {[]Candidate{silent, leader}, "a", ""},
		"only a learner":            {[]Candidate{learner}, "", "e is a learner"},
		"only a corrupt one":        {[]Candidate{corrupt}, "", "f has the alarm CORRUPT"},
		"only without a leader":     {[]Candidate{alone}, "", "g sees no leader"},
		"nobody":                    {[]Candidate{silent, alone}, "", "h does not answer (nobody is there); g sees no leader"},
		"two clusters":              {[]Candidate{leader, stranger}, "", "different clusters"},
	} {
		got, err := choose(c.of)
		if c.err == "" && (err != nil || got.Endpoint != c.want) || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%s: got %q, %v", name, got.Endpoint, err)
		}
	}
	if why := (Candidate{Leader: 1, Applied: 3999}).unfit(5000); why != "is 1001 entries behind" {
		t.Errorf("got %q", why)
	}
}

func TestResources(t *testing.T) {
	for key, want := range map[string]resourceName{
		"/registry/pods/ns/a":                                 {"", "pods"},
		"/registry/minions/node-1":                            {"", "nodes"},
		"/registry/services/specs/ns/a":                       {"", "services"},
		"/registry/services/endpoints/ns/a":                   {"", "endpoints"},
		"/registry/example.com/things/ns/a":                   {"example.com", "things"},
		"/registry/apiregistration.k8s.io/apiservices/v1.foo": {"apiregistration.k8s.io", "apiservices"},
		"/registry/namespaces/my.name":                        {"", "namespaces"},
		"/registry/priorityclasses/a.b/c":                     {"", "priorityclasses"},
	} {
		if got, ok := resourceOf([]byte(key)); !ok || got != want {
			t.Errorf("%s: got %v %t", key, got, ok)
		}
	}
	for _, key := range []string{"", "compact_rev_key", "/registry/", "/registry/pods", "/registry/pods/", "/registry//a", "/elsewhere/pods/a"} {
		if got, ok := resourceOf([]byte(key)); ok {
			t.Errorf("%q is taken for one of %v", key, got)
		}
	}
}
