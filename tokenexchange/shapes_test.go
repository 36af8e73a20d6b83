package tokenexchange

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wandb-gateway/wandb-gateway/internal/directory"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/keys/jws"
)

// shape is what one platform really puts into its tokens, with the mapping that its users write.
type shape struct {
	Note    string            `json:"note"`
	Preset  string            `json:"preset"`
	Issuer  string            `json:"issuer"`
	Allowed []string          `json:"audience"`
	Subject string            `json:"subject"` // whom it is about, as the configuration has it
	Account string            `json:"account"` // the subject of a service account, or
	Rule    map[string]string `json:"rule"`    // its claims, or
	Person  string            `json:"person"`  // a person's address
	Near    map[string]any    `json:"near"`    // claims of somebody else's token, which must not get in
	Claims  map[string]any    `json:"claims"`
}

// TestPlatforms exchanges the tokens that GitHub Actions, GitLab, Kubernetes, Google, AWS, Azure,
// Buildkite, Entra, Okta and Keycloak make, and refuses those of their neighbours.
func TestPlatforms(t *testing.T) {
	files, err := filepath.Glob("testdata/shapes/*.json")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d shapes (%v)", len(files), err)
	}
	seen := make(map[string]bool)
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var s shape
		if err := json.Unmarshal(text, &s); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		seen[s.Preset] = true
		t.Run(name, func(t *testing.T) { s.test(t) })
	}
	for _, name := range PresetNames() {
		if !seen[name] {
			t.Errorf("preset %s has no shape", name)
		}
	}
}

func (s *shape) test(t *testing.T) {
	h := newHouse(t, func(c *Config) {
		c.Issuers = append(c.Issuers, TrustedIssuer{
			URL: s.Issuer, Preset: s.Preset, Audiences: s.Allowed, Subject: s.Subject, Keys: c.Issuers[0].Keys,
			Algorithms: []jws.Algorithm{"ES256"}, // the test's own key signs for the platform's
		})
	})
	want := iam.PrincipalRef{}
	switch {
	case s.Person != "":
		u, err := h.Directory.CreateUser(h.ctx, directory.NewUser{Username: "shape", Email: s.Person})
		h.must(err)
		want = u.After.ID.Ref()
	default:
		want = h.account(directory.NewServiceAccount{Name: "shape", Team: h.vision, Issuer: s.Issuer, Subject: s.Account, Claims: s.Rule}).Ref()
	}
	claims := h.claims(nil)
	delete(claims, "sub")
	for name, value := range s.Claims {
		claims[name] = value
	}
	claims["iss"] = s.Issuer
	made := h.exchange(h.sign(h.key, "JWT", claims))
	if who, err := h.Identify(h.ctx, made.Token); err != nil || who.Ref != want {
		t.Errorf("it stands for %v (%v), want %v", who, err, want)
	}
	for name, value := range s.Near {
		claims[name] = value
	}
	if got := h.refusal(h.sign(h.key, "JWT", claims)); got != ReasonSubject && got != ReasonUnverified {
		t.Errorf("a neighbour's token is refused as %s", got)
	}
}
