// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package restore

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strings"

	"refit.dev/refit/etcd"
	"refit.dev/refit/host"
	"refit.dev/refit/internal/phrase"
)

// kubeletVersion is what the kubelet says of itself, "" if there is none.
func (m *machine) kubeletVersion(ctx context.Context) (string, error) {
	result, err := m.m.Exec(ctx, []string{"kubelet", "--version"}, host.ExecOptions{})
	if errors.Is(err, host.ErrNotStarted) {
		return "", err
	}
	if err != nil || result.Code != 0 {
		return "", nil //nolint:nilerr // there is none that could be asked
	}
	version, _ := strings.CutPrefix(strings.TrimSpace(string(result.Stdout)), "Kubernetes ")
	return version, nil
}

// addresses are those of the machine, as the kernel says (proc(5), /proc/net).
func (m *machine) addresses(ctx context.Context) ([]netip.Addr, error) {
	four, err := m.text(ctx, "cat", "/proc/net/fib_trie")
	if err != nil {
		return nil, fmt.Errorf("find out the addresses of the machine: %w", err)
	}
	result, err := m.m.Exec(ctx, []string{"cat", "/proc/net/if_inet6"}, host.ExecOptions{})
	if err != nil {
		return nil, fmt.Errorf("find out the addresses of the machine: %w", err)
	}
	six := ""
	if result.Code == 0 { // else it knows no IPv6
		six = string(result.Stdout)
	}
	return parseAddresses(four, six), nil
}

// parseAddresses reads the two files: of the first, each address with "/32 host LOCAL" under it; of the second, the
// first column.
func parseAddresses(four, six string) (all []netip.Addr) {
	var last netip.Addr
	for line := range strings.Lines(four) {
		line = strings.TrimSpace(line)
		if text, ok := strings.CutPrefix(line, "|-- "); ok {
			last, _ = netip.ParseAddr(text)
		} else if line == "/32 host LOCAL" && last.IsValid() && !slices.Contains(all, last) {
			all = append(all, last)
		}
	}
	for line := range strings.Lines(six) {
		column, _, _ := strings.Cut(line, " ")
		if raw, err := hex.DecodeString(column); err == nil {
			if a, ok := netip.AddrFromSlice(raw); ok {
				all = append(all, a)
			}
		}
	}
	return slices.DeleteFunc(all, func(a netip.Addr) bool { return a.IsLoopback() || a.IsLinkLocalUnicast() })
}

// wantedAddresses are those that the manifests name as the machine's own.
func (m *machine) wantedAddresses(files []File) (all []netip.Addr) {
	add := func(text string) {
		a, err := netip.ParseAddr(text)
		if err == nil && !a.IsLoopback() && !a.IsUnspecified() && !slices.Contains(all, a) {
			all = append(all, a)
		}
	}
	for _, text := range slices.Concat(m.member.PeerURLs, m.member.ClientURLs) {
		if u, err := url.Parse(text); err == nil {
			add(u.Hostname())
		}
	}
	if flags, err := etcd.APIServerFlags(content(files, path.Join(manifestDir, apiServer+".yaml"))); err == nil {
		add(flags["advertise-address"])
	}
	return all
}

// covered says which of the machine's addresses the certificates in the set are good for.
func covered(files []File, addresses []netip.Addr) string {
	var good []string
	for _, name := range []string{"apiserver.crt", "etcd/server.crt", "etcd/peer.crt"} {
		c, err := parseCertificate(content(files, path.Join("/etc/kubernetes/pki", name)))
		if err != nil {
			continue
		}
		for _, a := range addresses {
			if slices.ContainsFunc(c.IPAddresses, func(ip net.IP) bool { got, ok := netip.AddrFromSlice(ip); return ok && got.Unmap() == a }) {
				good = append(good, name+" for "+a.String())
			}
		}
	}
	if len(good) == 0 {
		return ", and the certificates there are for none of its own"
	}
	return " (of its own, there are certificates: " + phrase.Few(good, 5) + ")"
}

func texts(addresses []netip.Addr) (list []string) {
	for _, a := range addresses {
		list = append(list, a.String())
	}
	return list
}

// compareFile tells whether there is something at the path of a file, and whether it is that file.
func (m *machine) compareFile(ctx context.Context, f File) (same, there bool, err error) {
	if f.Link != "" {
		result, err := m.m.Exec(ctx, []string{"readlink", "--", f.Path}, host.ExecOptions{})
		if err != nil {
			return false, false, err
		}
		if result.Code == 0 {
			return strings.TrimSpace(string(result.Stdout)) == f.Link, true, nil
		}
		there, err := m.exists(ctx, f.Path)
		return false, there, err
	}
	data, err := m.m.ReadFile(ctx, f.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, false, nil
	}
	return bytes.Equal(data, f.Data), true, err
}
