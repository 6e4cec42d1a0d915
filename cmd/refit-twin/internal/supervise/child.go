// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package supervise

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

const (
	probeEvery  = 50 * time.Millisecond // how often a starting child is asked whether it is ready
	stopGrace   = 15 * time.Second      // from SIGTERM to SIGKILL
	backoffMin  = 200 * time.Millisecond
	backoffMax  = 10 * time.Second
	steadyAfter = time.Minute // a child that ran this long starts again without delay
)

// child is a program that is kept running.
type child struct {
	childConfig
	index int
	exe   string // this binary
	env   []string
	log   io.Writer
	board *board
	// probe returns nil once the child is ready; nil if there is nothing to ask.
	probe func(context.Context) error

	ready     chan struct{} // closed when it is ready for the first time
	readyOnce sync.Once
	again     chan struct{} // receives when it shall start again; capacity 1
	followers []*child      // that start again when this one did
}

// keep runs the child, again whenever it ends, until ctx ends; then it is told
// to end and keep returns when it did.
func (c *child) keep(ctx context.Context) {
	delay := backoffMin
	for {
		began := time.Now()
		err := c.runOnce(ctx)
		if ctx.Err() != nil {
			c.set(func(s *childStatus) { s.State, s.PID = stateStopped, 0 })
			return
		}
		if time.Since(began) > steadyAfter {
			delay = backoffMin
		}
		slog.Warn("child ended, will start it again", "child", c.Name, "error", err, "in", delay)
		c.set(func(s *childStatus) {
			s.State, s.PID, s.LastExit = stateBackoff, 0, fmt.Sprint(err)
			s.Restarts++
		})
		select {
		case <-ctx.Done():
			c.set(func(s *childStatus) { s.State = stateStopped })
			return
		case <-time.After(delay):
		}
		delay = min(delay*2, backoffMax)
	}
}

// runOnce runs the child until it ends by itself or because ctx ended.
func (c *child) runOnce(ctx context.Context) error {
	ctx, end := context.WithCancel(ctx)
	defer end()
	// Only this process holds the write end, so the read ends when it is gone.
	lifeline, hold, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("make a lifeline: %w", err)
	}
	defer hold.Close()
	cmd := exec.CommandContext(ctx, c.exe, c.Args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = stopGrace // then it is killed
	cmd.Env = append(append([]string{lifelineEnv + "=3"}, c.env...), c.Env...)
	cmd.ExtraFiles = []*os.File{lifeline} // becomes descriptor 3
	cmd.Stdout, cmd.Stderr = c.log, c.log
	// A group of its own: Ctrl-C in the terminal of whoever started the twin is not for the children.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	err = cmd.Start()
	_ = lifeline.Close()
	if err != nil {
		return fmt.Errorf("start: %w", err)
	}
	c.set(func(s *childStatus) { s.State, s.PID = stateStarting, cmd.Process.Pid })
	slog.Info("child started", "child", c.Name, "pid", cmd.Process.Pid)

	go c.awaitReady(ctx)
	go func() {
		select {
		case <-c.again:
			end()
		case <-ctx.Done():
		}
	}()

	err = cmd.Wait()
	if err == nil {
		return fmt.Errorf("it ended by itself")
	}
	return err
}

// awaitReady asks the child until it is ready and notes it.
func (c *child) awaitReady(ctx context.Context) {
	for c.probe != nil {
		if c.probe(ctx) == nil {
			break
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(probeEvery):
		}
	}
	if ctx.Err() == nil {
		c.set(func(s *childStatus) { s.State = stateReady })
		first := false
		c.readyOnce.Do(func() { first = true; close(c.ready) })
		if !first {
			c.tellFollowers()
		}
	}
}

// tellFollowers makes them start again, unless they are about to.
func (c *child) tellFollowers() {
	for _, f := range c.followers {
		select {
		case f.again <- struct{}{}:
		default:
		}
	}
}

func (c *child) set(change func(*childStatus)) {
	if err := c.board.set(c.index, change); err != nil {
		slog.Error("status not written", "child", c.Name, "error", err)
	}
}

// newProbe returns a function that asks cfg.ReadyURL, with mutual TLS, and
// returns nil on 200; nil if the child has no such URL.
func newProbe(cfg childConfig) (func(context.Context) error, error) {
	if cfg.ReadyURL == "" {
		return nil, nil
	}
	ca, err := os.ReadFile(cfg.CAFile)
	if err != nil {
		return nil, fmt.Errorf("child %s: %w", cfg.Name, err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("child %s: no certificate in %s", cfg.Name, cfg.CAFile)
	}
	cert, err := tls.LoadX509KeyPair(cfg.CertFile, cfg.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("child %s: %w", cfg.Name, err)
	}
	client := &http.Client{
		Timeout: 5 * time.Second,
		Transport: &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12},
			// One connection per question: this is asked a few times in a twin's life.
			DisableKeepAlives: true,
		},
	}
	return func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, cfg.ReadyURL, nil)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("%s: %s", cfg.ReadyURL, resp.Status)
		}
		return nil
	}, nil
}
