// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package supervise

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"

	"refit.dev/refit/cmd/refit-twin/internal/machine"
)

// config is twin.json. Package refit.dev/refit/twin writes the same structure
// (its type supervisorConfig); unknown fields are refused, so that a refit and
// a refit-twin of different versions say so instead of behaving oddly.
type config struct {
	// Children are started in this order, each once the one before it is
	// ready, and ended in the reverse order.
	Children []childConfig  `json:"children"`
	Machines machine.Config `json:"machines"`
}

// childConfig is one program of this binary.
type childConfig struct {
	Name string `json:"name"` // also the name of its log, NAME.log
	// Args start with the program's name.
	Args []string `json:"args"`
	// Env is added to a minimal environment.
	Env []string `json:"env,omitempty"`
	// ReadyURL answers 200 once the child is ready; empty if being started is enough.
	ReadyURL string `json:"readyURL,omitempty"`
	// Follows names a child: whenever that one was started again and is ready,
	// this one is ended and started again.
	Follows string `json:"follows,omitempty"`
	// CAFile verifies the child at ReadyURL, the other two are the client's certificate.
	CAFile   string `json:"caFile,omitempty"`
	CertFile string `json:"certFile,omitempty"`
	KeyFile  string `json:"keyFile,omitempty"`
}

// readConfig reads the file path and checks what a child could not be started without.
func readConfig(path string) (*config, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the twin's configuration: %w", err)
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	c := &config{}
	if err := dec.Decode(c); err != nil {
		return nil, fmt.Errorf("%s was not written for this refit-twin (run `make build`): %w", path, err)
	}
	for i, child := range c.Children {
		if child.Name == "" || len(child.Args) == 0 {
			return nil, fmt.Errorf("%s: child %d needs a name and arguments", path, i)
		}
	}
	return c, nil
}
