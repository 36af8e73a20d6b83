//go:build e2e

package tests

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// browsers are the browsers that people use the gateway with, and where Debian keeps them.
var browsers = map[string][]string{
	"chrome":  {"chromium", "chromium-browser", "google-chrome"},
	"firefox": {"firefox-esr", "firefox"},
}

// browser is a running browser; browser/browser.mjs says what it can do.
type browser struct {
	t    *testing.T
	kind string

	mu     sync.Mutex
	driver *node
	next   int
}

// startBrowser starts a browser of a kind.
func startBrowser(t *testing.T, kind string) *browser {
	t.Helper()
	program := ""
	for _, name := range browsers[kind] {
		if found, err := exec.LookPath(name); err == nil {
			program = found
			break
		}
	}
	if program == "" {
		t.Fatalf("none of %v is there: apt-get install %s", browsers[kind], browsers[kind][0])
	}
	n := startNode(t, "browser", "browser.mjs", kind, program)
	t.Logf("%s %s", kind, n.ready)
	return &browser{t: t, kind: kind, driver: n}
}

// tell gives the browser a command and reads its answer into value, if that is not nil.
func (b *browser) tell(value any, name string, arguments map[string]any) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.next++
	line := map[string]any{"id": b.next, "do": name}
	for k, v := range arguments {
		line[k] = v
	}
	if _, err := fmt.Fprintf(b.driver.stdin, "%s\n", toJSON(line)); err != nil {
		return err
	}
	said, ok := b.driver.says()
	if !ok {
		return fmt.Errorf("%s: the browser ended, or said nothing for %s", name, nodeAnswer)
	}
	var answer struct {
		ID    int
		Value json.RawMessage
		Error string
	}
	if err := json.Unmarshal([]byte(said), &answer); err != nil || answer.ID != b.next {
		return fmt.Errorf("%s: the driver says %.300s", name, said)
	}
	if answer.Error != "" {
		return fmt.Errorf("%s", answer.Error)
	}
	if value == nil {
		return nil
	}
	return json.Unmarshal(answer.Value, value)
}

// profile is a person's own cookies and tabs.
type profile struct {
	*browser
	t       *testing.T
	context int
}

// profile opens a fresh one.
func (b *browser) profile(t *testing.T) *profile {
	t.Helper()
	p := &profile{browser: b, t: t}
	if err := b.tell(&p.context, "context", nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.tell(nil, "close", map[string]any{"context": p.context}) })
	return p
}

// cookie is one of a profile's.
type cookie struct {
	Name, Value, Domain, Path, SameSite string
	Secure, HTTPOnly                    bool
}

func (p *profile) cookies() (all []cookie) {
	p.t.Helper()
	if err := p.tell(&all, "cookies", map[string]any{"context": p.context}); err != nil {
		p.t.Fatal(err)
	}
	return all
}

// tab is one of a profile's.
type tab struct {
	*profile
	page int
}

func (p *profile) tab() *tab {
	p.t.Helper()
	tb := &tab{profile: p}
	if err := p.tell(&tb.page, "page", map[string]any{"context": p.context}); err != nil {
		p.t.Fatal(err)
	}
	return tb
}

// do gives the tab a command that must work.
func (tb *tab) do(value any, name string, pairs ...any) {
	tb.t.Helper()
	arguments := map[string]any{"page": tb.page}
	for i := 0; i+1 < len(pairs); i += 2 {
		arguments[pairs[i].(string)] = pairs[i+1]
	}
	if err := tb.tell(value, name, arguments); err != nil {
		tb.t.Fatalf("%v\nat %s:\n%.1500s", err, tb.url(), tb.text())
	}
}

// open opens an address and returns the status of the page that it led to.
func (tb *tab) open(url string) (status int) {
	tb.t.Helper()
	tb.do(&status, "goto", "url", url)
	return status
}

// press presses a control, and goes where it leads.
func (tb *tab) press(role, name string) {
	tb.t.Helper()
	tb.do(nil, "click", "role", role, "name", name, "leaves", true)
}

// fill writes into a field.
func (tb *tab) fill(name, text string) {
	tb.t.Helper()
	tb.do(nil, "fill", "role", "textbox", "name", name, "text", text)
}

func (tb *tab) url() (url string) {
	tb.tell(&url, "url", map[string]any{"page": tb.page})
	return url
}

func (tb *tab) text() (text string) {
	tb.tell(&text, "text", map[string]any{"page": tb.page})
	return text
}

// evaluate runs a script in the page.
func (tb *tab) evaluate(value any, expression string) {
	tb.t.Helper()
	tb.do(value, "evaluate", "expression", expression)
}

// awaitURL waits until the tab shows an address with this beginning.
func (tb *tab) awaitURL(prefix string) {
	tb.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !strings.HasPrefix(tb.url(), prefix); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			tb.t.Fatalf("the tab shows %s, want %s:\n%.1500s", tb.url(), prefix, tb.text())
		}
	}
}

// awaitText waits until the page says so.
func (tb *tab) awaitText(want string) {
	tb.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !strings.Contains(tb.text(), want); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			tb.t.Fatalf("%s does not say %q:\n%.1500s", tb.url(), want, tb.text())
		}
	}
}

// looked checks what every page of the gateway must have, and keeps pictures of it in the folder
// E2E_SCREENSHOTS, if that is set: of a wide screen and a phone's, light and dark.
func (tb *tab) looked(name string) {
	tb.t.Helper()
	var page struct {
		Lang, Title string
		Headings    int
		Wider       bool
		Scripts     int
	}
	tb.evaluate(&page, `({
		lang: document.documentElement.lang, title: document.title, headings: document.querySelectorAll('h1').length,
		wider: document.documentElement.scrollWidth > document.documentElement.clientWidth, scripts: document.querySelectorAll('script').length,
	})`)
	if page.Lang != "en" || page.Title == "" || page.Headings != 1 || page.Wider {
		tb.t.Errorf("%s: %+v", name, page)
	}
	if tb.kind != "chrome" {
		return
	}
	var unnamed []string
	tb.do(&unnamed, "unnamed")
	if len(unnamed) > 0 {
		tb.t.Errorf("%s: controls without a name: %v", name, unnamed)
	}
	folder := os.Getenv("E2E_SCREENSHOTS")
	if folder == "" {
		return
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		tb.t.Fatal(err)
	}
	for _, width := range []int{1280, 390} {
		for _, dark := range []bool{false, true} {
			shade := map[bool]string{false: "light", true: "dark"}[dark]
			tb.do(nil, "screenshot", "path", filepath.Join(folder, fmt.Sprintf("%s-%d-%s.png", name, width, shade)), "width", width, "dark", dark)
		}
	}
}
