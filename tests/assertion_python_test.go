//go:build e2e

package tests

import (
	"bytes"
	"encoding/json"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/wandb-gateway/wandb-gateway/examples/verifyassertion"
)

// The example for Python takes what that for Go takes, and refuses what it refuses.
func TestPythonVerifiesAssertions(t *testing.T) {
	venv := installed(t, "pyjwt-2.15.1", func(venv string) error {
		if err := command(venv, "python3", "-m", "venv", venv); err != nil {
			return err
		}
		return command(venv, filepath.Join(venv, "bin", "pip"), "install", "--quiet", "--disable-pip-version-check", "pyjwt[crypto]==2.15.1")
	})
	for _, algorithm := range []string{"ES256", "EdDSA"} {
		t.Run(algorithm, func(t *testing.T) {
			key := newKey(t, "ES256", "k1")
			f := federated{issuer: newIssuer(t, key), key: key, upstream: newRecorder(t)}
			f.process = start(t, config{
				global:   trusting(f.issuer) + "access_token {\n\t\t\talgorithm " + algorithm + "\n\t\t}",
				upstream: f.upstream.host(), site: "assertion on",
			})
			f.importFile(withExternal(f.issuer.name, "gh-train", ciSubject))
			good := f.shown(t, f.stream("vision/team", aliceKey))
			hostile := hostileAssertions(t, f, good)
			names := slices.Sorted(maps.Keys(hostile))
			lines := []string{good}
			for _, name := range names {
				lines = append(lines, hostile[name])
			}
			answers := verifyInPython(t, venv, append(lines, good), f.url, f.upstream.URL)
			for _, i := range []int{0, len(answers) - 1} {
				if answers[i]["preferred_username"] != "alice" || answers[i]["organization"] != "acme" {
					t.Errorf("the good one: %v", answers[i])
				}
			}
			for i, name := range names {
				if _, refused := answers[i+1]["refused"]; !refused {
					t.Errorf("%s: accepted as %v", name, answers[i+1])
				}
			}
			for name, verifier := range map[string][]string{
				"another audience": {f.url, "http://other.internal:8080"},
				"another issuer":   {"https://other.acme.test", f.upstream.URL, f.url + "/.well-known/wandb-gateway/jwks.json"},
			} {
				if got := verifyInPython(t, venv, []string{good}, verifier...); got[0]["refused"] == nil {
					t.Errorf("%s: accepted as %v", name, got[0])
				}
			}
			v := &verifyassertion.Verifier{Issuer: f.url, Audience: f.upstream.URL, KeysURL: f.url + "/.well-known/wandb-gateway/jwks.json"}
			if _, err := v.Verify(t.Context(), good); err != nil {
				t.Errorf("in Go: %v", err)
			}
		})
	}
}

func verifyInPython(t *testing.T, venv string, lines []string, args ...string) (answers []map[string]any) {
	t.Helper()
	script, err := filepath.Abs(filepath.Join("..", "examples", "verify_assertion.py"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), filepath.Join(venv, "bin", "python"), append([]string{script}, args...)...)
	cmd.Env = []string{"NO_PROXY=127.0.0.1", "PYTHONDONTWRITEBYTECODE=1"}
	cmd.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, &errs)
	}
	for line := range strings.Lines(string(out)) {
		var answer map[string]any
		if err := json.Unmarshal([]byte(line), &answer); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		answers = append(answers, answer)
	}
	if len(answers) != len(lines) {
		t.Fatalf("%d answers to %d assertions: %s", len(answers), len(lines), out)
	}
	return answers
}
