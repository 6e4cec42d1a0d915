// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package html

import (
	"context"
	_ "embed"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	pages "github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"refit.dev/refit/event"
)

// deadline is for a browser that hangs; nothing is judged by it.
const deadline = 5 * time.Minute

// browser is a Chromium that the tests of this package share, one tab each.
func browser(t *testing.T) context.Context {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		t.Fatal("this test looks at the report in a browser: install Chromium (apt-get install chromium)")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.NoSandbox, // root has none
		chromedp.Flag("disable-dev-shm-usage", true), chromedp.WSURLReadTimeout(deadline))
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(func() {
		_ = chromedp.Cancel(ctx) // waits until the browser has ended
		cancel()
	})
	return ctx
}

// visit is a page open in a browser, with all that it should not do.
type visit struct {
	t   *testing.T
	ctx context.Context

	mu       sync.Mutex
	requests []string // other than the page itself
	errors   []string // on the console, thrown, or blocked by the page's policy
	dialogs  []string
}

func open(t *testing.T, html string) *visit {
	t.Helper()
	file := filepath.Join(t.TempDir(), "report.html")
	if err := os.WriteFile(file, []byte(html), 0o600); err != nil {
		t.Fatal(err)
	}
	v := &visit{t: t, ctx: browser(t)}
	address := (&url.URL{Scheme: "file", Path: file}).String()
	if err := chromedp.Listen(v.ctx, func(ev any) { v.note(ev, address) }); err != nil {
		t.Fatal(err)
	}
	v.do(call(network.Enable, network.EnableParams{}), call(log.Enable, cdp.Empty{}), call(runtime.Enable, cdp.Empty{}),
		call(pages.Enable, pages.EnableParams{}), chromedp.Navigate(address))
	return v
}

func (v *visit) note(ev any, address string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch e := ev.(type) {
	case *network.EventRequestWillBeSent:
		if e.Request.URL != address && !strings.HasPrefix(e.Request.URL, "data:") {
			v.requests = append(v.requests, e.Request.URL)
		}
	case *log.EventEntryAdded:
		v.errors = append(v.errors, e.Entry.Text)
	case *runtime.EventConsoleAPICalled:
		v.errors = append(v.errors, fmt.Sprintf("%s %v", e.Type, e.Args))
	case *runtime.EventExceptionThrown:
		v.errors = append(v.errors, e.ExceptionDetails.Text)
	case *pages.EventJavascriptDialogOpening:
		v.dialogs = append(v.dialogs, e.Message)
	}
}

// call is a command of the browser's protocol whose answer does not matter.
func call[P, R any](c cdp.Command[P, R], params P) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, c, params)
		return err
	})
}

func (v *visit) do(actions ...chromedp.Action[chromedp.Void]) {
	v.t.Helper()
	if err := chromedp.Do(v.ctx, actions...); err != nil {
		v.t.Fatal(err)
	}
}

// eval runs a script of the test in the page.
func eval[T any](v *visit, script string) T {
	v.t.Helper()
	result, err := chromedp.Run(v.ctx, chromedp.Evaluate[T](script))
	if err != nil {
		v.t.Fatal(err)
	}
	return result
}

// size lays the page out for a screen of that width.
func size(width int64) chromedp.Action[chromedp.Void] {
	return call(emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
		Width: width, Height: 800, DeviceScaleFactor: 1, Mobile: width < 600,
	})
}

// as shows the page at a width, in a colour scheme, with every part of it open.
func (v *visit) as(width int64, scheme string) {
	v.t.Helper()
	v.do(size(width), call(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
	}))
	eval[int](v, `document.querySelectorAll("details").forEach(d => { d.open = true }), 0`)
}

// quiet fails if the page did anything but being there.
func (v *visit) quiet() {
	v.t.Helper()
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.requests) > 0 || len(v.errors) > 0 || len(v.dialogs) > 0 {
		v.t.Errorf("requests %q, errors %q, dialogs %q", v.requests, v.errors, v.dialogs)
	}
}

//go:embed testdata/contrast.js
var contrastScript string

// TestInTheBrowser: the page is quiet, fits on a phone and can be read in light and dark.
func TestInTheBrowser(t *testing.T) {
	s := newSample(14, 3)
	s.fail, s.killedAfter = 5, 9
	s.simulate(t)
	s.emit(begin.Add(time.Second), event.Event{Type: event.Warning, Node: "node-03", Message: "it stays cordoned", Hint: "find out who did"})
	v := open(t, s.write(t))
	for _, scheme := range []string{"light", "dark"} {
		for _, width := range []int64{360, 1280} {
			v.as(width, scheme)
			if got := eval[int64](v, `document.documentElement.scrollWidth`); got > width {
				t.Errorf("%s, %d pixels: the page is %d wide", scheme, width, got)
			}
			type text struct {
				Text  string
				Ratio float64
				Need  float64
			}
			texts := eval[[]text](v, contrastScript)
			if len(texts) < 200 {
				t.Errorf("only %d texts were seen", len(texts))
			}
			for _, x := range texts {
				if x.Ratio < x.Need {
					t.Errorf("%s, %d pixels: %q has a contrast of %.2f, want %.1f (WCAG 2.2, 1.4.3)", scheme, width, x.Text, x.Ratio, x.Need)
				}
			}
		}
	}
	if eval[string](v, `getComputedStyle(document.body).backgroundColor`) == "rgb(244, 245, 247)" {
		t.Error("dark is light")
	}
	v.quiet()
}

// TestByKeyboard: Tab reaches every row and link in the order of the page, what
// has the focus can be seen, and Enter opens a row.
func TestByKeyboard(t *testing.T) {
	v := open(t, newSample(14, 3).write(t))
	v.do(size(1280))
	want := eval[int](v, `(() => {
		window.stops = [...document.querySelectorAll("a, summary, [tabindex='0']")].filter(e => e.checkVisibility());
		return stops.length;
	})()`)
	if rows := eval[int](v, `document.querySelectorAll(".rows > li > details > summary").length`); rows != 14 {
		t.Errorf("%d rows, want 14", rows)
	}
	type stop struct {
		Index   int
		Outline string
		Inside  bool
	}
	for i := range want {
		v.do(chromedp.KeyEvent(kb.Tab))
		at := eval[stop](v, `(() => {
			const e = document.activeElement, s = getComputedStyle(e), r = e.getBoundingClientRect();
			return {Index: stops.indexOf(e), Outline: s.outlineStyle + " " + s.outlineWidth, Inside: r.bottom > 0 && r.top < innerHeight};
		})()`)
		if at.Index != i || at.Outline != "solid 3px" || !at.Inside {
			t.Errorf("Tab number %d goes to stop %d of %d, outline %q, on the screen %t", i+1, at.Index, want, at.Outline, at.Inside)
		}
	}
	eval[int](v, `document.querySelector(".rows summary").focus(), 0`)
	v.do(chromedp.KeyEvent(kb.Enter))
	if !eval[bool](v, `document.querySelector(".rows details").open`) {
		t.Error("Enter does not open a row")
	}
	v.quiet()
}

// TestForScreenReaders: the accessibility tree has the landmarks, names every
// chart and keeps tables to be tables, also where they are laid out for a phone.
func TestForScreenReaders(t *testing.T) {
	v := open(t, newSample(14, 3).write(t))
	for _, width := range []int64{1280, 360} {
		v.as(width, "light")
		tree, err := chromedp.Run(v.ctx, func(ctx context.Context, t *chromedp.Target) (accessibility.GetFullAXTreeResult, error) {
			return cdp.Call(ctx, t, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{})
		})
		if err != nil {
			t.Fatal(err)
		}
		byRole := map[string][]string{}
		for _, n := range tree.Nodes {
			if n.Ignored || n.Role == nil {
				continue
			}
			role, name := text(n.Role), text(n.Name)
			byRole[role] = append(byRole[role], name)
			if role == "image" && name == "" {
				t.Errorf("%d pixels: an image has no name", width)
			}
		}
		has := func(role, prefix string) {
			t.Helper()
			if !slices.ContainsFunc(byRole[role], func(name string) bool { return strings.HasPrefix(name, prefix) }) {
				t.Errorf("%d pixels: no %s %q among %q", width, role, prefix, byRole[role])
			}
		}
		has("main", "")
		has("navigation", "Parts of the report")
		has("heading", "14 of 14 nodes maintained")
		has("heading", "Disruption budgets")
		has("region", "What waited for what")
		has("image", "How many nodes were out over time: at most 3, at ")
		has("image", "Unavailable pods of budget shop/app-00 over time: at most 1, 1 allowed")
		has("image", "Where 42 replacements landed: ")
		has("image", "done, cordoning from 0:00.2 for 60 ms, draining from ")
		has("columnheader", "Waited for")
		has("columnheader", "Moves per pod")
		has("rowheader", "budget shop/app-00 to allow a disruption")
		// The overview, 14 nodes, 7 budgets, the waits and the moves.
		if got := len(byRole["table"]); got != 1+14+7+2 {
			t.Errorf("%d pixels: %d tables, want 24", width, got)
		}
		if got := len(byRole["image"]); got != 1+14+7+1 {
			t.Errorf("%d pixels: %d images, want 23: %q", width, got, byRole["image"])
		}
	}
	v.quiet()
}

func text(v *accessibility.Value) string {
	if v == nil {
		return ""
	}
	return strings.Trim(string(v.Value), `"`)
}

// hostile are names that are no names.
var hostile = []string{
	`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `' onmouseover='alert(1)`, `</style><script>alert(1)</script>`,
	`</title><svg onload=alert(1)>`, `javascript:alert(1)`, `{{.}}`, `<!--`, `&lt;b&gt;`, "\u202egnp.exe\u202c", "שלום עולם", "a\x00b\xff\u2028c",
	strings.Repeat("x", 253), strings.Repeat("long-name.", 25) + "end", "]]>", "`${alert(1)}`",
	"\x1b[31mred\u009b0m",
}

// TestHostileNames: whatever stands in a cluster is text on the page, and text alone.
func TestHostileNames(t *testing.T) {
	s := newSample(len(hostile), 3)
	s.workloads = len(hostile)
	s.name = func(i int) string { return hostile[i-1] }
	s.app = func(i int) string { return hostile[i] }
	s.fail = 3
	s.simulate(t)
	s.records[0].Spec.Command, s.records[0].Spec.Reboot = `echo "<script>alert(1)</script>" > '/tmp/x'`, false
	for _, h := range hostile {
		s.emit(begin.Add(time.Second), event.Event{Type: event.Warning, Node: h, Message: h, Hint: h})
	}
	page := s.write(t)
	if i := strings.IndexFunc(page, func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' }); i >= 0 {
		t.Errorf("a control character is at %d: %q", i, page[max(0, i-20):i+20])
	}
	v := open(t, page)
	v.as(360, "light")
	if got := eval[int64](v, `document.documentElement.scrollWidth`); got > 360 {
		t.Errorf("the page is %d wide, want 360", got)
	}
	if got := eval[[]string](v, `[...document.querySelectorAll("*")].filter(e =>
		["SCRIPT", "IMG", "IFRAME", "OBJECT", "EMBED", "FORM", "BASE"].includes(e.nodeName.toUpperCase()) ||
		[...e.attributes].some(a => a.name.startsWith("on") || /^\s*javascript:/i.test(a.value))).map(e => e.outerHTML)`); len(got) > 0 {
		t.Errorf("elements that act: %q", got)
	}
	if got := eval[int](v, `document.querySelectorAll("style").length`); got != 1 {
		t.Errorf("%d style sheets", got)
	}
	names := eval[[]string](v, `[...document.querySelectorAll(".rows .name > bdi")].map(e => e.textContent)`)
	for _, h := range hostile {
		shown := strings.NewReplacer("\x00", "\ufffd", "\x1b", `\u001b`, "\u009b", `\u009b`).Replace(strings.ToValidUTF8(h, "\ufffd"))
		if !slices.Contains(names, shown) {
			t.Errorf("%q is not shown as it is: %q", h, names)
		}
	}
	// Names that are written from right to left leave what stands beside them alone.
	if got := eval[int](v, `[...document.querySelectorAll(".name, h1, td")].filter(e => getComputedStyle(e).direction !== "ltr").length`); got != 0 {
		t.Errorf("%d elements have changed their direction", got)
	}
	v.do(chromedp.MouseClickXY(100, 400))
	v.quiet()
}

// TestThousands: a large run still loads, and is quiet.
func TestThousands(t *testing.T) {
	s := newSample(5000, 500)
	s.workloads = 2000
	html := s.write(t)
	if len(html) > 20<<20 {
		t.Errorf("%d bytes, want 20 MiB at most", len(html))
	}
	v := open(t, html)
	v.do(size(360))
	if got := eval[int](v, `document.querySelectorAll(".rows > li").length`); got != 5000 {
		t.Errorf("%d rows", got)
	}
	if got := eval[int](v, `[...document.querySelectorAll(".rows > li")].filter(e => e.checkVisibility()).length`); got != mostRows {
		t.Errorf("%d rows are visible at first, want %d", got, mostRows)
	}
	if got := eval[int64](v, `document.documentElement.scrollWidth`); got > 360 {
		t.Errorf("the page is %d wide, want 360", got)
	}
	v.quiet()
}
