//go:build e2e

package tests

import (
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
)

// TestImage builds what the Dockerfile builds, with its own command, and runs it as the image would: no
// container engine is needed, and what one adds (base image, users) is only read.
func TestImage(t *testing.T) {
	text, err := os.ReadFile("../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	dockerfile := string(text)
	for _, want := range []string{"\nUSER 65532:65532\n", "\nFROM scratch\n", "/etc/ssl/certs/ca-certificates.crt", "\nENTRYPOINT [\"/usr/bin/wandb-gateway\"]\n", "--chown=65532:65532 /out/data /data\n"} {
		if !strings.Contains(dockerfile, want) {
			t.Errorf("the Dockerfile has no %q", want)
		}
	}
	module, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	image := regexp.MustCompile(`FROM golang:([0-9.]+) AS`).FindStringSubmatch(dockerfile)
	needed := regexp.MustCompile(`\ngo ([0-9.]+)\n`).FindStringSubmatch(string(module))
	if image == nil || needed == nil || !newerOrSame(image[1], needed[1]) {
		t.Fatalf("the image builds with Go %v, go.mod needs %v", image, needed)
	}
	command := regexp.MustCompile(`\nRUN (CGO_ENABLED=0 go build .*)\n`).FindStringSubmatch(dockerfile)
	if command == nil {
		t.Fatal("the Dockerfile builds nothing without cgo")
	}
	built := filepath.Join(t.TempDir(), "wandb-gateway")
	build := exec.Command("sh", "-c", strings.Replace(command[1], "/out/wandb-gateway", built, 1))
	build.Dir = ".."
	build.Env = append(os.Environ(), "GOOS=linux")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	static(t, built)
	if runtime.GOOS != "linux" {
		return
	}
	// As in the image: the variables of ENV, a Caddyfile that is read, a folder that is written.
	data := t.TempDir()
	run := exec.Command(built, "validate", "--config", "../Caddyfile")
	run.Env = []string{"WANDB_UPSTREAM=http://127.0.0.1:9", "GATEWAY_DATA=" + data, "XDG_DATA_HOME=" + data, "XDG_CONFIG_HOME=" + data + "/config"}
	if out, err := run.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	p := start(t, config{upstream: newRecorder(t).host(), binary: built})
	p.importFile(acme)
	if a := p.stream("vision/team", aliceKey); a.status != 200 {
		t.Errorf("the image's binary answers %d %s", a.status, a.body)
	}
}

// static fails unless the file runs on a system without libraries.
func static(t *testing.T, path string) {
	t.Helper()
	f, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			t.Error("the binary needs a dynamic linker")
		}
	}
	if libraries, err := f.ImportedLibraries(); err != nil || len(libraries) > 0 {
		t.Errorf("the binary needs %v, %v", libraries, err)
	}
}

func newerOrSame(a, b string) bool {
	return strings.Join(padded(a), ".") >= strings.Join(padded(b), ".")
}

func padded(version string) []string {
	parts := strings.Split(version, ".")
	for i := range parts {
		parts[i] = strings.Repeat("0", 6-len(parts[i])) + parts[i]
	}
	return parts
}
