// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package twin

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"refit.dev/refit/internal/hint"
	"refit.dev/refit/internal/statedir"
)

// Twin is a cluster that was made by Up. Files in its directory:
//
//	record.json            what it was made as; written last, so a directory
//	                       without it is one that was left half-made
//	twin.json, audit.yaml, kwok.yaml, scheduler.yaml  configuration
//	pki/, *.kubeconfig     who is who
//	etcd/, audit/, logs/   data
//	restore/               of whoever restores its etcd
//	status.json, *.lock    of the supervisor
type Twin struct {
	name string
	dir  string
	// ended is closed when the supervisor that this process started has ended;
	// nil if another process started it.
	ended <-chan struct{}
	// tied is Options.Tied of the Up that has returned it.
	tied bool
}

// record is record.json.
type record struct {
	Options Options   `json:"options"`
	Ports   ports     `json:"ports"`
	Created time.Time `json:"created"`
}

// ErrNotFound is returned for a twin that does not exist.
var ErrNotFound = errors.New("there is no such twin")

// Open returns the twin of that name, which may be running or not. The error
// wraps ErrNotFound if there is none.
func Open(name string) (*Twin, error) {
	root, err := rootDir("")
	if err != nil {
		return nil, err
	}
	return openIn(root, name)
}

func openIn(root, name string) (*Twin, error) {
	if err := validName(name); err != nil {
		return nil, err
	}
	t := newTwin(root, name)
	if _, err := t.readRecord(); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, hint.Wrap(fmt.Errorf("twin %s: %w", name, ErrNotFound), "make it with `refit twin up --name %s`", name)
		}
		return nil, err
	}
	return t, nil
}

// List returns all twins of the state directory, half-made ones too, by name.
func List() ([]*Twin, error) {
	root, err := rootDir("")
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list the twins: %w", err)
	}
	var out []*Twin
	for _, e := range entries {
		if e.IsDir() && validName(e.Name()) == nil {
			out = append(out, newTwin(root, e.Name()))
		}
	}
	slices.SortFunc(out, func(a, b *Twin) int { return strings.Compare(a.name, b.name) })
	return out, nil
}

// rootDir returns the directory that holds the twins: that of the state
// directory, or the user's if it is empty.
func rootDir(stateDir string) (string, error) {
	if stateDir == "" {
		return statedir.Path("twins")
	}
	abs, err := filepath.Abs(stateDir)
	if err != nil {
		return "", fmt.Errorf("state directory %q: %w", stateDir, err)
	}
	return filepath.Join(abs, "twins"), nil
}

func newTwin(root, name string) *Twin {
	return &Twin{name: name, dir: filepath.Join(root, name)}
}

// Name returns the twin's name.
func (t *Twin) Name() string { return t.name }

// Dir returns the twin's directory.
func (t *Twin) Dir() string { return t.dir }

// Kubeconfig returns the path of the administrator's kubeconfig.
func (t *Twin) Kubeconfig() string { return t.kubeconfig("admin") }

// MaintainerKubeconfig returns the path of the kubeconfig of a user who may do
// what refit needs and nothing else: what docs/how-to/rbac.md gives to everybody.
func (t *Twin) MaintainerKubeconfig() string { return t.kubeconfig("maintainer") }

// SurgeKubeconfig returns the path of that of a maintainer who may also do what
// refit maintain --surge-singletons needs.
func (t *Twin) SurgeKubeconfig() string { return t.kubeconfig("maintainer-surge") }

// EvictionTimeoutKubeconfig returns the path of that of a maintainer who may also do what
// refit eviction-timeout set needs.
func (t *Twin) EvictionTimeoutKubeconfig() string { return t.kubeconfig("maintainer-eviction-timeout") }

// AuditLog returns the path of the API server's audit log: a JSON object of
// type audit.k8s.io/v1 Event on each line, as manifests/audit.yaml wants it. A
// request can have several lines, of one auditID.
func (t *Twin) AuditLog() string { return t.path("audit", "audit.log") }

// RESTConfig returns the configuration of a client with the administrator's rights.
func (t *Twin) RESTConfig() (*rest.Config, error) {
	cfg, err := clientcmd.BuildConfigFromFlags("", t.Kubeconfig())
	if err != nil {
		return nil, fmt.Errorf("twin %s: read its kubeconfig: %w", t.name, err)
	}
	return cfg, nil
}

func (t *Twin) path(elem ...string) string {
	return filepath.Join(append([]string{t.dir}, elem...)...)
}

// readRecord returns the twin's record; the error is fs.ErrNotExist for a twin
// that does not exist or is half-made.
func (t *Twin) readRecord() (*record, error) {
	data, err := os.ReadFile(t.path("record.json"))
	if err != nil {
		return nil, err
	}
	r := &record{}
	if err := json.Unmarshal(data, r); err != nil {
		return nil, hint.Wrap(fmt.Errorf("twin %s: its record is damaged: %w", t.name, err), "remove the twin with `refit twin down --name %s`", t.name)
	}
	return r, nil
}
