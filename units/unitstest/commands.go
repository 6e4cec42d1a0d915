// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package unitstest

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

func (m *Machine) systemctl(argv []string) (code int, out, started string) {
	name := strings.TrimSuffix(argv[len(argv)-1], ".service")
	u := m.services[name]
	switch {
	case argv[1] == "show" && u == nil:
		return 0, "LoadState=not-found\nActiveState=inactive\nMainPID=0\n", ""
	case argv[1] == "show":
		active, sub := "active", "running"
		if u.pid == 0 {
			active, sub = "activating", "auto-restart"
		}
		return 0, fmt.Sprintf("LoadState=loaded\nActiveState=%s\nSubState=%s\nMainPID=%d\nNRestarts=0\nNeedDaemonReload=no\n"+
			"FragmentPath=/etc/systemd/system/%s.service\nExecStart={ path=%s ; argv[]=%s ; ignore_errors=no ; pid=%d }\nEnvironment=%s\n",
			active, sub, u.pid, name, u.argv[0], strings.Join(u.argv, " "), u.pid, u.environment), ""
	case u == nil:
		return 5, "no such unit", ""
	case argv[1] == "restart":
		m.start(name)
		return 0, "", name
	}
	return 0, "", "" // reset-failed
}

// script does what the scripts of package units do, which are tested for themselves.
func (m *Machine) script(text string, args []string, input string) (code int, out string) {
	switch {
	case strings.Contains(text, "echo fresh"):
		return 0, m.looked(args)
	case strings.Contains(text, "echo staged"):
		return 0, m.placed(args)
	case strings.Contains(text, "'*.conf'"):
		for _, p := range slices.Sorted(maps.Keys(m.files)) {
			if strings.HasPrefix(p, args[0]+"/") && strings.HasSuffix(p, ".conf") {
				out += p + "\n"
			}
		}
		return 0, out
	case strings.HasPrefix(text, `[ -f "$1" ] && sha256sum`):
		return 0, m.sum(args[0])
	case strings.Contains(text, "cat >"):
		if Sum(input) != args[1] {
			return 1, "what arrived has another sum"
		}
		m.files[args[0]] = &inode{input}
	case strings.Contains(text, `"$3" "$1.refit"`):
		program, kept, staged, sum := args[0], args[1], args[2], args[3]
		if f := m.files[program]; f != nil && Sum(f.text) == sum {
			return 0, ""
		}
		if m.files[staged] == nil || Sum(m.files[staged].text) != sum {
			return 1, staged + " is not what was sent there"
		}
		m.files[kept], m.files[program] = m.files[program], m.files[staged]
	case strings.Contains(text, `"$2" "$1.refit"`):
		if m.files[args[1]] == nil {
			return 1, args[1] + " is not there"
		}
		m.files[args[3]] = &inode{args[4] + "\n"}
		m.files[args[0]] = m.files[args[1]]
	default:
		return 127, "an unknown script"
	}
	return 0, ""
}

func (m *Machine) looked(args []string) string {
	f := m.files[args[0]]
	var out strings.Builder
	for _, u := range m.services {
		if u.pid > 0 && strconv.Itoa(u.pid) == args[1] && u.runs == f {
			out.WriteString("fresh\n")
		}
		if u.pid > 0 && strconv.Itoa(u.pid) == args[1] && !strings.HasPrefix(u.runs.text, "#!") {
			out.WriteString("runs " + u.argv[0] + "\n")
		}
	}
	if f != nil && !strings.HasPrefix(f.text, "#!") {
		out.WriteString("elf\n")
	}
	return out.String()
}

func (m *Machine) placed(args []string) string {
	out := m.sum(args[0])
	if m.files[args[1]] != nil {
		out += "staged\n"
	}
	if f := m.files[args[2]]; f != nil {
		out += "refused " + f.text
	}
	return out
}

func (m *Machine) sum(path string) string {
	if f := m.files[path]; f != nil {
		return Sum(f.text) + "  -\n"
	}
	return ""
}

// program runs a binary that is asked something.
func (m *Machine) program(argv []string) (code int, out string) {
	f := m.files[argv[0]]
	if pid, found := strings.CutPrefix(argv[0], "/proc/"); found {
		for _, u := range m.services {
			if strconv.Itoa(u.pid)+"/exe" == pid {
				f = u.runs
			}
		}
	}
	if f == nil {
		return 127, "no such file"
	}
	return Ask(f.text, argv[1:])
}

// Ask is what a binary says when it is run with arguments that have it end at once.
func Ask(binary string, args []string) (code int, out string) {
	words := strings.Fields(binary)
	for _, word := range words[2:] {
		flag, isFlag := strings.CutPrefix(word, "flag=")
		gate, isGate := strings.CutPrefix(word, "gate=")
		for _, arg := range args {
			switch {
			case isFlag && words[0] == "etcd" && strings.HasPrefix(arg+"=", "--"+flag+"="):
				return 1, "flag provided but not defined: -" + flag + "\n"
			case isFlag && strings.HasPrefix(arg+"=", "--"+flag+"="):
				return 1, "Error: unknown flag: --" + flag + "\n"
			case isGate && strings.HasPrefix(arg, "--feature-gates=") && strings.Contains(arg, gate+"="):
				return 1, "E1123 command failed err=\"unrecognized feature gate: " + gate + "\"\n"
			}
		}
	}
	if !slices.Contains(args, "--version") {
		return 1, "failed to load kubelet config file\n"
	}
	if words[0] == "etcd" {
		return 0, "etcd Version: " + words[1] + "\nGit SHA: x\n"
	}
	return 0, "Kubernetes " + words[1] + "\n"
}
