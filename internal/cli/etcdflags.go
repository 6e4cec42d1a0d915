// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"refit.dev/refit/etcd"
	"refit.dev/refit/internal/hint"
)

// etcdFlags say where etcd is: etcdctl's flags, and how machines are logged in to.
type etcdFlags struct {
	endpoints                         []string
	cacert, cert, key, user, password string
	insecure                          bool
	patience                          time.Duration
	ssh                               sshFlags
	flags                             *pflag.FlagSet
}

// etcdctlDefault is where etcdctl looks if it is told nothing.
const etcdctlDefault = "127.0.0.1:2379"

func (f *etcdFlags) add(flags *pflag.FlagSet) {
	f.flags = flags
	flags.StringSliceVar(&f.endpoints, "endpoints", nil, "URLs of members of etcd, separated by commas (ETCDCTL_ENDPOINTS); no others are asked")
	flags.StringVar(&f.cacert, "cacert", "", "the file of etcd's certificate authority (ETCDCTL_CACERT)")
	flags.StringVar(&f.cert, "cert", "", "the file of a client certificate for etcd (ETCDCTL_CERT)")
	flags.StringVar(&f.key, "key", "", "the file of its private key (ETCDCTL_KEY)")
	flags.StringVar(&f.user, "user", "", "a user of etcd, NAME or NAME:PASSWORD (ETCDCTL_USER)")
	flags.StringVar(&f.password, "password", "", "the password of that user; others may see it here, so ETCDCTL_PASSWORD is better")
	flags.BoolVar(&f.insecure, "insecure-skip-tls-verify", false, "take any certificate for etcd's (ETCDCTL_INSECURE_SKIP_TLS_VERIFY)")
	flags.DurationVar(&f.patience, "dial-timeout", 5*time.Second, "how long a member has to answer (ETCDCTL_DIAL_TIMEOUT)")
	f.ssh.add(flags)
}

// fromEnvironment gives the flags that were not given the values of etcdctl's variables,
// and tells whether anything was said about etcd.
func (f *etcdFlags) fromEnvironment(getenv func(string) string) (said bool, err error) {
	for _, name := range []string{"endpoints", "cacert", "cert", "key", "user", "password", "insecure-skip-tls-verify", "dial-timeout"} {
		variable := "ETCDCTL_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
		value := getenv(variable)
		if !f.flags.Changed(name) && value != "" {
			if err := f.flags.Set(name, value); err != nil {
				return false, hint.Wrap(fmt.Errorf("%s=%s: %w", variable, strconv.Quote(value), err), "mend or unset the variable")
			}
		}
		said = said || f.flags.Changed(name) && name != "dial-timeout"
	}
	if f.patience <= 0 {
		return false, fmt.Errorf("--dial-timeout %s: want a time above 0", f.patience)
	}
	return said, nil
}

// direct is the access that the flags describe.
func (f *etcdFlags) direct() (etcd.Access, error) {
	a := etcd.Access{Endpoints: f.endpoints, User: f.user, Password: f.password, Patience: f.patience}
	if len(a.Endpoints) == 0 {
		a.Endpoints = []string{etcdctlDefault}
	}
	if name, password, ok := strings.Cut(f.user, ":"); ok && f.password == "" {
		a.User, a.Password = name, password
	}
	if a.User != "" && a.Password == "" {
		return a, errors.New("--user: the password is missing: say it in ETCDCTL_PASSWORD")
	}
	c := etcd.Credentials{Insecure: f.insecure}
	for _, file := range []struct {
		flag, path string
		into       *[]byte
	}{{"cacert", f.cacert, &c.CA}, {"cert", f.cert, &c.Certificate}, {"key", f.key, &c.Key}} {
		if file.path == "" {
			continue
		}
		text, err := os.ReadFile(file.path)
		if err != nil {
			return a, fmt.Errorf("--%s: %w", file.flag, err)
		}
		*file.into = text
	}
	var err error
	if a.TLS, err = c.TLS(); err != nil {
		return a, fmt.Errorf("--cacert, --cert and --key: %w", err)
	}
	return a, a.Check()
}
