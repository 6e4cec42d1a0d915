// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"

	"refit.dev/refit/internal/hint"
)

// engine is the Docker engine that carries the machines: the one that answers
// on this machine anyway, or one of the labs' own.
type engine struct {
	flags []string // of the docker command, before its verb
	own   bool
}

// ErrNoEngine is returned where no engine answers and none may be, or is to be, started.
var ErrNoEngine = errors.New("no Docker engine answers")

// findEngine returns the engine that answers: the labs' own if it runs, else
// the machine's.
func findEngine(ctx context.Context) (*engine, error) {
	if _, err := exec.LookPath("docker"); err != nil {
		return nil, hint.Wrap(fmt.Errorf("%w: there is no docker command", ErrNoEngine),
			"install Docker, on Debian with `apt-get install docker.io`; a lab starts the engine itself if none runs")
	}
	own, err := ownEngineDirs()
	if err != nil {
		return nil, err
	}
	e := &engine{flags: []string{"--host", "unix://" + own.socket()}, own: true}
	if e.answers(ctx) {
		return e, nil
	}
	e = &engine{}
	if !e.answers(ctx) {
		return nil, ErrNoEngine
	}
	if err := e.usable(ctx); err != nil {
		return nil, err
	}
	return e, nil
}

func (e *engine) answers(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	_, err := e.docker(ctx, nil, "version", "--format", "{{.Server.Version}}")
	return err == nil
}

// usable wants an engine whose machines can be reached from here and may do
// what a kubelet has to.
func (e *engine) usable(ctx context.Context) error {
	info, err := e.docker(ctx, nil, "info", "--format", "{{.OSType}} {{.SecurityOptions}}")
	if err != nil {
		return fmt.Errorf("ask the Docker engine what it is: %w", err)
	}
	if !strings.HasPrefix(info, "linux ") || strings.Contains(info, "name=rootless") {
		return hint.Wrap(fmt.Errorf("the Docker engine that answers (%s) cannot carry a lab: it has to run as root on this Linux machine",
			strings.TrimSpace(info)), "let DOCKER_HOST name another engine")
	}
	return nil
}

// docker runs the docker command and returns what it writes.
func (e *engine) docker(ctx context.Context, stdin io.Reader, args ...string) (string, error) {
	argv := append(append([]string{"docker"}, e.flags...), args...)
	return command{Argv: argv, Stdin: stdin, Env: []string{"DOCKER_CLI_HINTS=false"}}.run(ctx)
}

// startEngine returns the engine that answers, and starts one if none does.
func startEngine(ctx context.Context, progress Progress) (*engine, error) {
	e, err := findEngine(ctx)
	if !errors.Is(err, ErrNoEngine) || hint.Of(err) != "" {
		return e, err
	}
	path, err := exec.LookPath("dockerd")
	if err != nil {
		return nil, hint.Wrap(fmt.Errorf("%w, and there is no dockerd to start", ErrNoEngine),
			"install the engine, on Debian with `apt-get install docker.io`, or let DOCKER_HOST name one that runs")
	}
	own, err := ownEngineDirs()
	if err != nil {
		return nil, err
	}
	progress.say("starting a Docker engine of the labs' own (%s)", own.log)
	if err := own.start(ctx, path); err != nil {
		return nil, fmt.Errorf("start a Docker engine: %w", err)
	}
	return findEngine(ctx)
}
