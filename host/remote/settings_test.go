// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/utils/clock"
)

// configured is a network whose user has this configuration.
func configured(t *testing.T, files map[string]string) (*Network, error) {
	t.Helper()
	home := t.TempDir()
	for name, text := range files {
		path := filepath.Join(home, ".ssh", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return New(Options{ConfigFile: filepath.Join(home, ".ssh", "config"), Home: home, User: "me", Clock: clock.RealClock{}})
}

func TestTargets(t *testing.T) {
	for _, c := range []struct{ config, want string }{
		{"", "me@10.0.0.1:22 sudo=true only=false ids=0 jumps=[]"},
		{"User root\nPort=2222\n", "root@10.0.0.1:2222 sudo=false only=false ids=0 jumps=[]"},
		{"Host node-01\n HostName real.example\n User admin\nHost *\n User root\n Port 23\n", "admin@real.example:23 sudo=true only=false ids=0 jumps=[]"},
		{"Host 10.0.*\n User root\n", "root@10.0.0.1:22 sudo=false only=false ids=0 jumps=[]"},
		{"Host other\n User root\n", "me@10.0.0.1:22 sudo=true only=false ids=0 jumps=[]"},
		{"IdentitiesOnly yes\nIdentityFile ~/.ssh/%r_%h\nIdentityFile /k\n", "me@10.0.0.1:22 sudo=true only=true ids=2 jumps=[]"},
		{"Host node-*\n ProxyJump a@j1:2200,j2\n", "me@10.0.0.1:22 sudo=true only=false ids=0 jumps=[a@j1:2200 me@j2:22]"},
		{"Host node-*\n ProxyJump none\nHost *\n ProxyJump j\n", "me@10.0.0.1:22 sudo=true only=false ids=0 jumps=[]"},
		{"Host node-*\n ProxyJump b\nHost b\n ProxyJump c\n HostName b.example\n", "me@10.0.0.1:22 sudo=true only=false ids=0 jumps=[me@c:22 me@b.example:22]"},
		{"Include more\nUser late\n", "early@10.0.0.1:22 sudo=true only=false ids=0 jumps=[]"},
		{"Match all\n User root\n", "root@10.0.0.1:22 sudo=false only=false ids=0 jumps=[]"},
		{"Match final all\n User root\n", "root@10.0.0.1:22 sudo=false only=false ids=0 jumps=[]"},
		{"Match host x,node-01\n User root\n", "root@10.0.0.1:22 sudo=false only=false ids=0 jumps=[]"},
		{"Match exec \"rm -rf /\"\n User root\nMatch user x\n Port 1\nMatch\n Port 2\nHost *\n Port 9\n", "me@10.0.0.1:9 sudo=true only=false ids=0 jumps=[] 3 left out"},
	} {
		n, err := configured(t, map[string]string{"config": c.config, "more": "Host node-01\n User early\n"})
		if err != nil {
			t.Errorf("%q: %v", c.config, err)
			continue
		}
		target, err := n.Target(Address{Name: "node-01", Host: "10.0.0.1"})
		jumps := []string{}
		for _, j := range target.Jumps {
			jumps = append(jumps, j.User+"@"+j.addr())
		}
		got := fmt.Sprintf("%s@%s sudo=%v only=%v ids=%d jumps=%v", target.User, target.addr(), target.Sudo, target.Only, len(target.Identities), jumps)
		if len(n.Warnings()) > 0 {
			got += fmt.Sprintf(" %d left out", len(n.Warnings()))
		}
		if err != nil || got != c.want {
			t.Errorf("%q:\n got %s, %v\nwant %s", c.config, got, err, c.want)
		}
	}
}

func TestTargetsRefuse(t *testing.T) {
	for config, want := range map[string]string{
		"Port x\n":                             "Port",
		"Port 70000\n":                         "port 70000",
		"ProxyCommand nc %h %p\n":              "ProxyJump",
		"ProxyJump -oProxyCommand=id\n":        "no name of a host",
		"ProxyJump a:0\n":                      "port",
		"Host *\n ProxyJump self\n":            "circle",
		"ConnectTimeout soon\n":                "ConnectTimeout",
		"IdentityFile ~/.ssh/%C\n":             "%C",
		"HostName -oProxyCommand=id\n":         "no name of a host",
		"User -l\n":                            "no name of a user",
		"HostKeyAlias a,b\n":                   "HostKeyAlias",
		"IdentitiesOnly perhaps\n":             "IdentitiesOnly",
		"Include config\n":                     "nested",
		"ServerAliveCountMax 0\n":              "ServerAliveCountMax",
		"UserKnownHostsFile ~/.ssh/%Q/known\n": "%Q",
	} {
		n, err := configured(t, map[string]string{"config": config})
		if err == nil {
			_, err = n.Target(Address{Name: "node-01", Host: "10.0.0.1"})
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", config, err, want)
		}
	}
}

// No configuration, whatever it holds, ends the program.
func FuzzConfig(f *testing.F) {
	for _, text := range []string{"Host *\n User x\n", "Match exec x\n", "Include *\n", "Host \"a b\"\n", "=", "Host\n", "Match host\n", "User = a # b\n"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if n, err := configured(t, map[string]string{"config": text}); err == nil {
			_, _ = n.Target(Address{Name: "node-01", Host: "10.0.0.1"})
		}
	})
}
