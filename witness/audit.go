// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package witness

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// entry is what is read of a line of the audit log (audit.k8s.io/v1 Event).
type entry struct {
	Stage      string    `json:"stage"`
	Verb       string    `json:"verb"`
	RequestURI string    `json:"requestURI"`
	Received   time.Time `json:"requestReceivedTimestamp"`
	User       struct {
		Username string   `json:"username"`
		Groups   []string `json:"groups"`
	} `json:"user"`
	ObjectRef struct {
		Resource    string `json:"resource"`
		Subresource string `json:"subresource"`
		Namespace   string `json:"namespace"`
		Name        string `json:"name"`
	} `json:"objectRef"`
	ResponseStatus struct {
		Code int `json:"code"`
	} `json:"responseStatus"`
	RequestObject struct {
		deleteOptions
		DeleteOptions *deleteOptions `json:"deleteOptions"` // of an Eviction
	} `json:"requestObject"`
	ResponseObject struct {
		Metadata struct {
			UID types.UID `json:"uid"`
		} `json:"metadata"`
		Details struct {
			UID types.UID `json:"uid"`
		} `json:"details"` // of a Status
		Items []struct {
			Metadata struct {
				UID types.UID `json:"uid"`
			} `json:"metadata"`
		} `json:"items"` // of a deleted collection
	} `json:"responseObject"`
}

type deleteOptions struct {
	Preconditions *struct {
		UID types.UID `json:"uid"`
	} `json:"preconditions"`
	DryRun             []string `json:"dryRun"`
	GracePeriodSeconds *int64   `json:"gracePeriodSeconds"`
}

// ask is a request to end pods, as the audit log tells it.
type ask struct {
	received        time.Time
	user            string
	voluntary       bool // not by the control plane
	eviction        bool // by way of the Eviction API
	accepted        bool
	code            int
	namespace, name string
	uids            []types.UID // of the pods it was about; empty if the log does not say
	grace           *int64      // the grace period that it asked for; nil if it left that to the pod
}

// ask makes an ask of e, if it is one.
func (e *entry) ask(controlPlane func(user string, groups []string) bool) (ask, bool) {
	eviction := e.Verb == "create" && e.ObjectRef.Subresource == "eviction"
	deletion := (e.Verb == "delete" || e.Verb == "deletecollection") && e.ObjectRef.Subresource == ""
	if e.Stage != "ResponseComplete" || e.ObjectRef.Resource != "pods" || !(eviction || deletion) || e.dryRun() {
		return ask{}, false
	}
	a := ask{
		received: e.Received, user: e.User.Username, voluntary: !controlPlane(e.User.Username, e.User.Groups),
		eviction: eviction, accepted: e.ResponseStatus.Code/100 == 2, code: e.ResponseStatus.Code,
		namespace: e.ObjectRef.Namespace, name: e.ObjectRef.Name,
	}
	add := func(uid types.UID) {
		if uid != "" && !slices.Contains(a.uids, uid) {
			a.uids = append(a.uids, uid)
		}
	}
	for _, o := range e.options() {
		if o.Preconditions != nil {
			add(o.Preconditions.UID)
		}
		if o.GracePeriodSeconds != nil {
			a.grace = o.GracePeriodSeconds
		}
	}
	if deletion {
		add(e.ResponseObject.Metadata.UID)
		add(e.ResponseObject.Details.UID)
		for _, item := range e.ResponseObject.Items {
			add(item.Metadata.UID)
		}
	}
	return a, true
}

func (e *entry) options() []*deleteOptions {
	all := []*deleteOptions{&e.RequestObject.deleteOptions}
	if e.RequestObject.DeleteOptions != nil {
		all = append(all, e.RequestObject.DeleteOptions)
	}
	return all
}

func (e *entry) dryRun() bool {
	return strings.Contains(e.RequestURI, "dryRun=") ||
		slices.ContainsFunc(e.options(), func(o *deleteOptions) bool { return len(o.DryRun) > 0 })
}

// auditLog reads what is appended to an audit log from a moment on.
type auditLog struct {
	path         string
	file         *os.File
	rest         []byte // the beginning of a line that is still being written
	asks         []ask
	controlPlane func(user string, groups []string) bool
}

// openAudit reads from the present end of the log at path; a line that is being
// written just now, from its beginning.
func openAudit(path string, controlPlane func(string, []string) bool) (*auditLog, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open the audit log: %w", err)
	}
	if err := seekLastLine(file); err != nil {
		return nil, errors.Join(fmt.Errorf("open the audit log: %w", err), file.Close())
	}
	return &auditLog{path: path, file: file, controlPlane: controlPlane}, nil
}

// seekLastLine goes to behind the last line that is complete.
func seekLastLine(file *os.File) error {
	at, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	for piece := make([]byte, 64<<10); at > 0; {
		piece = piece[:min(at, int64(len(piece)))]
		at -= int64(len(piece))
		if _, err := file.ReadAt(piece, at); err != nil {
			return err
		}
		if end := bytes.LastIndexByte(piece, '\n'); end >= 0 {
			at += int64(end) + 1
			break
		}
	}
	_, err = file.Seek(at, io.SeekStart)
	return err
}

// read takes in what was written since. That the log was rotated is an error:
// lines may have gone where nobody looks.
func (a *auditLog) read() error {
	opened, err := a.file.Stat()
	if err != nil {
		return fmt.Errorf("read the audit log: %w", err)
	}
	now, err := os.Stat(a.path)
	if err != nil {
		return fmt.Errorf("read the audit log: %w", err)
	}
	at, err := a.file.Seek(0, io.SeekCurrent)
	if err != nil {
		return fmt.Errorf("read the audit log: %w", err)
	}
	if !os.SameFile(opened, now) || now.Size() < at {
		return fmt.Errorf("the audit log %s was rotated or cut off while it was read", a.path)
	}
	data, err := io.ReadAll(a.file)
	if err != nil {
		return fmt.Errorf("read the audit log: %w", err)
	}
	return a.parse(data)
}

func (a *auditLog) parse(data []byte) error {
	a.rest = append(a.rest, data...)
	for {
		line, rest, whole := bytes.Cut(a.rest, []byte("\n"))
		if !whole {
			return nil
		}
		a.rest = rest
		var e entry
		if err := json.Unmarshal(line, &e); err != nil {
			return fmt.Errorf("the audit log %s has a line that is no entry: %w", a.path, err)
		}
		if ask, ok := e.ask(a.controlPlane); ok {
			a.asks = append(a.asks, ask)
		}
	}
}
