// Package docs holds the documentation, and the test that what it points at is there.
package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var link = regexp.MustCompile(`\[([^\]]+)\]\(([^)\s]+)\)`)

// pages are the documents whose links are checked.
func pages(t *testing.T) []string {
	t.Helper()
	var found []string
	for _, pattern := range []string{"*.md", "*/*.md", "../*.md", "../configs/*.md"} {
		matches, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, matches...)
	}
	return found
}

// A link to a file must find it, and one that is named like a test must find that test: a claim in
// the threat model is worth what its proof is.
func TestLinks(t *testing.T) {
	proofs := 0
	for _, page := range pages(t) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range link.FindAllStringSubmatch(string(text), -1) {
			name, target := match[1], match[2]
			path, _, _ := strings.Cut(target, "#")
			if path == "" || strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			source, err := os.ReadFile(filepath.Join(filepath.Dir(page), path))
			if err != nil {
				if info, statErr := os.Stat(filepath.Join(filepath.Dir(page), path)); statErr == nil && info.IsDir() {
					continue
				}
				t.Errorf("%s points at %s: %v", page, target, err)
				continue
			}
			if !strings.HasSuffix(path, "_test.go") {
				continue
			}
			proofs++
			if !strings.Contains(string(source), "\nfunc "+name+"(") {
				t.Errorf("%s names %s, which %s does not have", page, name, path)
			}
		}
	}
	if proofs == 0 {
		t.Error("no document names a test")
	}
}

// Whoever follows the README must run what every change was held to.
func TestCIRunsTheCommandOfTheREADME(t *testing.T) {
	for path, want := range map[string]string{
		"../README.md": "```sh\ngo test ./...\n```",
		"../.ci/run":   "\nstep \"test\" go test ./...\n",
		"../Makefile":  "\n\tgo test ./...\n",
	} {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), want) {
			t.Errorf("%s does not hold %q", path, want)
		}
	}
}
