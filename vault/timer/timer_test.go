// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package timer

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func schedule() Schedule {
	return Schedule{Name: "refit-backup", OnCalendar: "hourly", Program: "/usr/bin/refit", Save: []string{"/usr/bin/refit", "backup", "save"}}
}

// unquote reads a command as systemd does (systemd.service(5), COMMAND LINES, and the escapes of systemd.syntax(7)):
// written from those pages, not from line.
func unquote(t *rapid.T, text string) (words []string) {
	var word strings.Builder
	inWord := false
	quote := byte(0)
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '\\':
			if i++; i == len(text) {
				t.Fatalf("%q ends in an escape", text)
			}
			if text[i] != '\\' && text[i] != '"' {
				t.Fatalf("%q: the escape \\%c", text, text[i])
			}
			word.WriteByte(text[i])
			inWord = true
		case quote == 0 && (c == '"' || c == '\''):
			if inWord {
				t.Fatalf("%q: a quote in the middle of a word", text)
			}
			quote, inWord = c, true
		case quote != 0 && c == quote:
			quote = 0
			if i+1 < len(text) && text[i+1] != ' ' {
				t.Fatalf("%q: a word goes on after its quote", text)
			}
		case quote == 0 && (c == ' ' || c == '\t'):
			if inWord {
				words, inWord = append(words, word.String()), false
				word.Reset()
			}
		case c == '%' || c == '$':
			if i+1 == len(text) || text[i+1] != c {
				t.Fatalf("%q: a single %c would be replaced", text, c)
			}
			i++
			word.WriteByte(c)
			inWord = true
		case quote == 0 && c == ';' && !inWord && (i+1 == len(text) || text[i+1] == ' '):
			t.Fatalf("%q: another command begins", text)
		default:
			word.WriteByte(c)
			inWord = true
		}
	}
	if quote != 0 {
		t.Fatalf("%q: a quote is open", text)
	}
	if inWord {
		words = append(words, word.String())
	}
	return words
}

// value is that of a line NAME=... of a unit.
func value(unit, name string) string {
	for line := range strings.Lines(unit) {
		if v, ok := strings.CutPrefix(line, name+"="); ok {
			return strings.TrimSuffix(v, "\n")
		}
	}
	return ""
}

// TestWordsComeThrough: whatever the arguments are, systemd and a shell read them as they were.
func TestWordsComeThrough(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := schedule()
		words := rapid.SliceOfN(rapid.StringOfN(rapid.RuneFrom([]rune(`ab /\"'%$;&|<>()#*?~=-é`+"\t`")), 0, 12, -1), 1, 5).Draw(t, "words")
		s.Save = append([]string{"/usr/bin/printf", `%s\0`}, words...)
		units, err := s.Units()
		if err != nil {
			t.Fatal(err)
		}
		if got := unquote(t, value(units[0].Text, "ExecStart")); !slices.Equal(got, s.Save) {
			t.Fatalf("systemd would read %q, want %q", got, s.Save)
		}
		line, err := s.Cron()
		if err != nil {
			t.Fatal(err)
		}
		// cron hands what follows the time to a shell, with \% for % (crontab(5)).
		command := strings.ReplaceAll(strings.TrimSuffix(strings.TrimPrefix(line, "@hourly "), "\n"), `\%`, "%")
		if strings.Contains(strings.ReplaceAll(line, `\%`, ""), "%") {
			t.Fatalf("cron would end the command at a %%: %q", line)
		}
		out, err := exec.Command("/bin/sh", "-c", command).Output()
		if err != nil || string(out) != strings.Join(words, "\x00")+"\x00" {
			t.Fatalf("a shell reads %q as %q, %v", command, out, err)
		}
	})
}

// TestEnvironmentFiles are read before, by systemd and by the shell of cron, whatever they are called.
func TestEnvironmentFiles(t *testing.T) {
	s := schedule()
	s.EnvironmentFile, s.Prune = "/etc/refit/$(touch${IFS}x);y.env", []string{"/usr/bin/refit", "backup", "prune"}
	units, err := s.Units()
	if err != nil {
		t.Fatal(err)
	}
	if got := value(units[0].Text, "EnvironmentFile"); got != s.EnvironmentFile {
		t.Errorf("systemd reads %q", got)
	}
	if strings.Count(units[0].Text, "\nExecStart=") != 2 || !strings.Contains(units[1].Text, "OnCalendar=hourly\n") {
		t.Errorf("the units are\n%s\n%s", units[0].Text, units[1].Text)
	}
	line, err := s.Cron()
	if err != nil || !strings.HasPrefix(line, "@hourly set -a && . '/etc/refit/$(touch${IFS}x);y.env' && ") || !strings.Contains(line, "save && /usr/bin/refit backup prune") {
		t.Errorf("cron reads %q, %v", line, err)
	}
}

// TestRefused names what would become another unit, another command, or nothing.
func TestRefused(t *testing.T) {
	for name, change := range map[string]func(*Schedule){
		"a name with a slash":         func(s *Schedule) { s.Name = "../x" },
		"no name":                     func(s *Schedule) { s.Name = "" },
		"no time":                     func(s *Schedule) { s.OnCalendar = " " },
		"a time of two lines":         func(s *Schedule) { s.OnCalendar = "hourly\nExecStart=/bin/sh" },
		"a word of two lines":         func(s *Schedule) { s.Save = append(s.Save, "a\nExecStart=/bin/sh") },
		"a rule of two lines":         func(s *Schedule) { s.Prune = []string{"a\nb"} },
		"a file that is relative":     func(s *Schedule) { s.EnvironmentFile = "x.env" },
		"a file with a space":         func(s *Schedule) { s.EnvironmentFile = "/x y" },
		"a file of two lines":         func(s *Schedule) { s.EnvironmentFile = "/x\nExecStart=/bin/sh" },
		"a file that systemd expands": func(s *Schedule) { s.EnvironmentFile = "/%h" },
	} {
		s := schedule()
		change(&s)
		if units, err := s.Units(); err == nil {
			t.Errorf("%s: %v", name, units)
		}
		if line, err := s.Cron(); err == nil {
			t.Errorf("%s: %q", name, line)
		}
	}
	for _, when := range []string{"often", "* * * *", "*:0/30"} {
		s := schedule()
		s.OnCalendar = when
		if line, err := s.Cron(); err == nil {
			t.Errorf("cron, %s: %q", when, line)
		}
	}
	for when, want := range map[string]string{"daily": "@daily ", "@reboot": "@reboot ", "5 4 * * sun": "5 4 * * sun "} {
		s := schedule()
		s.OnCalendar = when
		if line, err := s.Cron(); err != nil || !strings.HasPrefix(line, want) {
			t.Errorf("cron, %s: %q, %v", when, line, err)
		}
	}
}
