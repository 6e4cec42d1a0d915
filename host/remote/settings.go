// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/kevinburke/ssh_config"
)

// NoConfig as the ConfigFile of Options stands for no configuration at all.
const NoConfig = "none"

// settings are those of ssh_config(5), the user's before the system's.
type settings struct {
	files []*ssh_config.Config
	home  string
	user  string // on this machine
}

// loadSettings reads the configuration of ssh: the file given, or the user's and the
// system's if it is "", or none. It returns what of it is left out, in words.
func loadSettings(file, home, user string) (settings, []string, error) {
	s := settings{home: home, user: user}
	type source struct {
		path   string
		system bool
	}
	sources := []source{{filepath.Join(home, ".ssh", "config"), false}, {"/etc/ssh/ssh_config", true}}
	switch file {
	case "":
	case NoConfig:
		sources = nil
	default:
		sources = []source{{file, false}}
	}
	var warnings []string
	for _, from := range sources {
		config, left, err := readConfig(from.path, home, from.system)
		if errors.Is(err, fs.ErrNotExist) && file == "" {
			continue
		}
		if err != nil {
			return s, nil, err
		}
		s.files = append(s.files, config)
		warnings = append(warnings, left...)
	}
	return s, warnings, nil
}

// get returns the first value of key for any of the names, "" if there is none.
func (s settings) get(names []string, key string) (string, error) {
	for _, name := range names {
		for _, file := range s.files {
			value, err := file.Get(name, key)
			if err != nil {
				return "", fmt.Errorf("the configuration of ssh: %s: %w", key, err)
			}
			if value = strings.TrimSpace(value); value != "" {
				return value, nil
			}
		}
	}
	return "", nil
}

// all returns all values of key for the names.
func (s settings) all(names []string, key string) ([]string, error) {
	var values []string
	for _, name := range names {
		for _, file := range s.files {
			more, err := file.GetAll(name, key)
			if err != nil {
				return nil, fmt.Errorf("the configuration of ssh: %s: %w", key, err)
			}
			values = append(values, more...)
		}
	}
	return values, nil
}

func (s settings) seconds(names []string, key string, otherwise time.Duration) (time.Duration, error) {
	value, err := s.get(names, key)
	if err != nil || value == "" || value == "none" || value == "0" {
		return otherwise, err
	}
	n, err := strconv.Atoi(value)
	if err != nil || n < 0 || n > 24*60*60 {
		return 0, fmt.Errorf("the configuration of ssh: %s %q: want seconds", key, value)
	}
	return time.Duration(n) * time.Second, nil
}

func (s settings) yes(names []string, key string) (bool, error) {
	value, err := s.get(names, key)
	switch strings.ToLower(value) {
	case "", "no", "false":
		return false, err
	case "yes", "true":
		return true, err
	}
	return false, fmt.Errorf("the configuration of ssh: %s %q: want yes or no", key, value)
}

// path expands the tokens that ssh_config(5) allows in the name of a file.
func (s settings) path(value, host, user string) (string, error) {
	value = strings.Trim(value, `"`)
	var b strings.Builder
	for i := 0; i < len(value); i++ {
		if value[i] != '%' {
			b.WriteByte(value[i])
			continue
		}
		i++
		switch {
		case i == len(value):
			return "", fmt.Errorf("the configuration of ssh: %q ends in %%", value)
		case value[i] == '%':
			b.WriteByte('%')
		case value[i] == 'd':
			b.WriteString(s.home)
		case value[i] == 'h':
			b.WriteString(host)
		case value[i] == 'r':
			b.WriteString(user)
		case value[i] == 'u':
			b.WriteString(s.user)
		default:
			return "", fmt.Errorf("the configuration of ssh: %q: %%%c is not understood there", value, value[i])
		}
	}
	path := b.String()
	switch {
	case path == "~":
		path = s.home
	case strings.HasPrefix(path, "~/"):
		path = filepath.Join(s.home, path[2:])
	case strings.HasPrefix(path, "${"):
		return "", fmt.Errorf("the configuration of ssh: %q: variables are not understood there", value)
	case !filepath.IsAbs(path):
		path = filepath.Join(s.home, ".ssh", path)
	}
	return path, nil
}
