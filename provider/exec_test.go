// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package provider

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/utils/clock"
)

func shell(script string, seconds float64) Command {
	return Command{Argv: []string{"sh", "-c", script}, Seconds: seconds}
}

func of(create, remove, list string) *Exec {
	return &Exec{Config: Config{Create: shell(create, 60), Delete: shell(remove, 60), List: shell(list, 60), Join: JoinOwn}, Clock: clock.RealClock{}}
}

const secret = "abcdef.0123456789abcdef"

func TestExec(t *testing.T) {
	dir := t.TempDir()
	x := of("cat > "+dir+`/create; echo '{"machine": {"key": "k", "id": "vm-1", "node": "n"}}'`, "cat > "+dir+"/delete", `echo '{"machines": []}'`)
	x.Dir = filepath.Join(dir, "locks")
	m, err := x.Create(t.Context(), Order{Run: "r", Key: "k", Version: "v1.37.2", Join: &Join{Server: "10.0.0.1:6443", Token: secret}, Labels: map[string]string{"a": "b"}})
	if err != nil || m != (Machine{Key: "k", ID: "vm-1", Node: "n"}) {
		t.Errorf("%+v, %v", m, err)
	}
	var q question
	data, err := os.ReadFile(filepath.Join(dir, "create"))
	if err == nil {
		err = json.Unmarshal(data, &q)
	}
	if err != nil || q.Version != 1 || q.Action != "create" || q.Order.Join.Token != secret || q.Order.Labels["a"] != "b" || q.Run != "r" {
		t.Errorf("%s, %v", data, err)
	}
	if err := x.Delete(t.Context(), "r", m); err != nil {
		t.Error(err)
	}
	if data, err := os.ReadFile(filepath.Join(dir, "delete")); err != nil || string(data) != `{"version":1,"action":"delete","run":"r","machine":{"key":"k","id":"vm-1","node":"n"}}` {
		t.Errorf("%s, %v", data, err)
	}
	if list, err := x.List(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("%v, %v", list, err)
	}
}

// Whatever a command does wrong is an error that says what, and never an answer.
func TestExecTrouble(t *testing.T) {
	good := `{"id": "vm-1", "key": "k", "node": "n1"}`
	for name, c := range map[string]struct {
		list string
		want string
		bad  bool // a BadAnswerError
	}{
		"fails":             {list: "echo no quota >&2; exit 3", want: "exit status 3: no quota"},
		"is not there":      {list: "exec /nowhere/at-all", want: "exit status 127"},
		"says nothing":      {list: "true", want: "not the JSON", bad: true},
		"says something":    {list: "echo hello", want: "not the JSON", bad: true},
		"another field":     {list: `echo '{"machines": [], "extra": 1}'`, want: "extra", bad: true},
		"two answers":       {list: `echo '{"machines": []} {"machines": []}'`, want: "follows", bad: true},
		"another answer":    {list: `echo '{"machine": ` + good + `}'`, want: "want", bad: true},
		"null":              {list: `echo '{"machines": null}'`, want: "want", bad: true},
		"no id":             {list: `echo '{"machines": [{"key": "k"}]}'`, want: "without an id", bad: true},
		"a path as a node":  {list: `echo '{"machines": [{"id": "1", "node": "../etc"}]}'`, want: "not the name of a node", bad: true},
		"an odd id":         {list: `echo '{"machines": [{"id": "a b"}]}'`, want: "not the id", bad: true},
		"the same id twice": {list: `echo '{"machines": [` + good + `, {"id": "vm-1"}]}'`, want: "listed twice", bad: true},
		"the same key":      {list: `echo '{"machines": [` + good + `, {"id": "vm-2", "key": "k"}]}'`, want: "both have the key", bad: true},
		"the same node":     {list: `echo '{"machines": [` + good + `, {"id": "vm-2", "node": "n1"}]}'`, want: "both say that they are node", bad: true},
		"without an end":    {list: "cat /dev/zero", want: "longer than", bad: true},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "without an end" {
				c.list = "head -c 9000000 /dev/zero"
			}
			_, err := of("", "", c.list).List(t.Context())
			bad, isBad := errors.AsType[*BadAnswerError](err)
			if err == nil || !strings.Contains(err.Error(), c.want) || isBad != c.bad {
				t.Errorf("%v (%v)", err, bad)
			}
		})
	}
}

func TestExecCreateTrouble(t *testing.T) {
	order := Order{Key: "k", Join: &Join{Token: secret}}
	_, err := of(`echo '{"machine": {"key": "other", "id": "vm-1"}}'`, "", "").Create(t.Context(), order)
	if _, bad := errors.AsType[*BadAnswerError](err); !bad {
		t.Error(err)
	}
	_, err = of("cat >&2; exit 75", "", "").Create(t.Context(), order)
	if _, temporary := errors.AsType[*TemporaryError](err); !temporary || strings.Contains(err.Error(), "0123456789abcdef") || !strings.Contains(err.Error(), "[token]") {
		t.Error(err)
	}
	if _, err := of("true", "", "").Create(t.Context(), Order{Key: "../x"}); err == nil {
		t.Error("a key that is a path")
	}
	if err := of("", "true", "").Delete(t.Context(), "r", Machine{ID: "a\nb"}); err == nil {
		t.Error("an id of two lines")
	}
}

// A command that hangs is ended with all that it has begun, at its time or at the caller's.
func TestExecHangs(t *testing.T) {
	x := of("", "", "trap '' TERM; sleep 1000 & sleep 1000; true")
	x.Config.List.Seconds = 0.2
	if _, err := x.List(t.Context()); err == nil || !strings.Contains(err.Error(), "did not end within 200ms") {
		t.Error(err)
	}
	stopped := errors.New("stopped")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(stopped)
	if _, err := of("", "", "sleep 1000").List(ctx); !errors.Is(err, stopped) {
		t.Error(err)
	}
}

// A command that goes on without its refit is waited for: what it holds is locked until it ends.
func TestExecWaitsForTheLast(t *testing.T) {
	dir := t.TempDir()
	x := of("echo first >> "+dir+`/log; echo '{"machine": {"key": "k", "id": "vm-1"}}'`, "", "")
	x.Dir = dir
	lock, err := x.lock(t.Context(), "key k") // as the other command has it
	if err != nil {
		t.Fatal(err)
	}
	x.Config.Create.Seconds = 0.3
	if _, err := x.Create(t.Context(), Order{Key: "k"}); err == nil || !strings.Contains(err.Error(), "begun earlier, still runs") {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "log")); err == nil {
		t.Error("it was run beside the other")
	}
	lock.Close()
	x.Config.Create.Seconds = 60
	if _, err := x.Create(t.Context(), Order{Key: "k"}); err != nil {
		t.Error(err)
	}
}

// TestAwait: who wants to know what an earlier command has made waits until that has ended.
func TestAwait(t *testing.T) {
	x := of("", "", "")
	x.Dir = t.TempDir()
	lock, err := x.lock(t.Context(), "key k")
	if err != nil {
		t.Fatal(err)
	}
	x.Config.Create.Seconds = 0.3
	if err := x.Await(t.Context(), "k"); err == nil || !strings.Contains(err.Error(), "begun earlier, still runs") {
		t.Error(err)
	}
	if err := x.Await(t.Context(), "other"); err != nil {
		t.Error(err)
	}
	x.Config.Create.Seconds = 60
	waited := make(chan error)
	go func() { waited <- x.Await(t.Context(), "k") }()
	select {
	case err := <-waited:
		t.Fatalf("it did not wait: %v", err)
	default:
	}
	lock.Close()
	if err := <-waited; err != nil {
		t.Error(err)
	}
}

// TestShown: no part of a secret is shown, wherever the text is cut, whatever it is wrapped in.
func TestShown(t *testing.T) {
	const letters = "0123456789abcdef"
	lines := func(text string, width int) string {
		var b strings.Builder
		for i := range len(text) {
			if b.WriteByte(text[i]); i%width == width-1 {
				b.WriteByte('\n')
			}
		}
		return b.String()
	}
	wrapped := []string{"token zzzzzz." + letters + " was refused"}
	for pad := range 3 {
		userData := "#cloud-config: " + strings.Repeat("x", pad) + " kubeadm join --token zzzzzz." + letters + " 10.0.0.1:6443"
		for _, e := range []*base64.Encoding{base64.StdEncoding, base64.RawURLEncoding} {
			wrapped = append(wrapped, "user-data="+e.EncodeToString([]byte(userData)), lines(e.EncodeToString([]byte(userData)), 76), lines(e.EncodeToString([]byte(userData)), 7))
		}
	}
	for _, text := range wrapped {
		for most := range len(text) + 50 {
			tail := &bounded{most: most + redactMargin, last: true}
			if _, err := tail.Write([]byte(strings.Repeat("some words before it ", 40) + text)); err != nil {
				t.Fatal(err)
			}
			got := shown(tail.data, letters, most)
			plain := strings.Map(func(r rune) rune {
				if strings.ContainsRune("\n[]", r) {
					return -1
				}
				return r
			}, got)
			for n := 0; n+4 <= len(letters); n++ {
				if strings.Contains(got, letters[n:n+4]) {
					t.Fatalf("%q at %d: %q", text, most, got)
				}
			}
			for off := range min(4, len(plain)) {
				decoded, _ := base64.RawStdEncoding.DecodeString(plain[off : off+(len(plain)-off)/4*4])
				if strings.Contains(string(decoded), letters[6:12]) {
					t.Fatalf("%q at %d: %q is %q", text, most, got, decoded)
				}
			}
		}
	}
	if got := shown([]byte("no quota for 4 machines"), letters, 100); got != "no quota for 4 machines" {
		t.Error(got)
	}
}

func TestReadConfig(t *testing.T) {
	const head = "apiVersion: refit.dev/v1alpha1\nkind: Provider\n"
	const rest = "delete: {command: [d]}\nlist: {command: [l], timeout: 5s}\n"
	c, err := ReadConfig(strings.NewReader(head + "create: {command: [./c, a b]}\n" + rest))
	if err != nil || c.Join != JoinKubeadm || c.List.Seconds != 5 || c.Create.Seconds != createTime.Seconds() || c.Create.Argv[1] != "a b" {
		t.Errorf("%+v, %v", c, err)
	}
	for text, want := range map[string]string{
		"": "empty",
		"kind: Inventory\napiVersion: refit.dev/v1alpha1\n": "no provider",
		head + rest:                            "create: it has no command",
		head + rest + "create: {command: c}\n": "line 5: a text, where a list of words should be",
		head + rest + "create: [c]\n":          "line 5: a list, where fields should be",
		"ssh-ed25519 AAAA me\n":                "want a file with apiVersion",
		"[a, b]\n":                             "want a file with apiVersion",
		head + rest + "create: {command: [c], shell: true}\n":            "shell",
		head + rest + "create: {command: [c], timeout: -1s}\n":           "timeout",
		head + rest + "create: {command: [c], timeout: soon}\n":          "soon",
		head + rest + "create: {command: [c]}\njoin: magic\n":            "join",
		head + rest + "create: {command: [c]}\n---\nkind: Provider\n":    "more than one",
		head + rest + "create: {command: [c]}\nupdate: {command: [u]}\n": "update",
		head + rest + "create: {command: [\"a\\0b\"]}\n":                 "NUL",
	} {
		if _, err := ReadConfig(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "struct") || strings.Contains(err.Error(), "AAAA") {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "p.yaml")
	if err := os.WriteFile(file, []byte(head+"create: {command: [./c]}\n"+rest), 0o600); err != nil {
		t.Fatal(err)
	}
	if c, err := LoadConfig(file); err != nil || c.Create.Argv[0] != filepath.Join(dir, "c") || c.Delete.Argv[0] != "d" {
		t.Errorf("%+v, %v", c, err)
	}
	if _, err := LoadConfig(filepath.Join(dir, "none")); err == nil {
		t.Error("a file that is not there")
	}
}
