package tokenexchange

import (
	"strings"
	"testing"

	"github.com/wandb-gateway/wandb-gateway/internal/directory"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/keys/jws"
)

const github = "https://token.actions.githubusercontent.com"

// TestMappingsThatAnybodyCouldSatisfy: each is refused, with a remedy that names what to add.
func TestMappingsThatAnybodyCouldSatisfy(t *testing.T) {
	tests := []struct {
		preset, issuer, subject string
		claims                  map[string]string
		remedy                  string
	}{
		{"github_actions", github, "", map[string]string{"aud": "acme"}, "repository"},
		{"github_actions", github, "", map[string]string{"ref": "refs/heads/main"}, "repository"},
		{"github_actions", github, "", map[string]string{"environment": "production", "ref": "refs/heads/main"}, "repository"},
		{"github_actions", github, "", map[string]string{"job_workflow_ref": "acme/shared/.github/workflows/train.yml@refs/heads/main"}, "repository"},
		{"github_actions", github, "", map[string]string{"actor": "alice"}, "repository"},
		{"github_actions", github, "", map[string]string{"sub": "environment:production"}, "repository"},
		{"github_actions", github, "acme", nil, "repo:OWNER/NAME"},
		{"github_actions", github, "repo:", nil, "repo:OWNER/NAME"},
		{"github_actions", github, "repo:acme/detector", nil, "repo:OWNER/NAME"},
		{"github_actions", github, "environment:production", nil, "repo:OWNER/NAME"},
		{"", github, "", map[string]string{"aud": "acme"}, "repository"}, // its address implies the preset
		{"gitlab", "https://gitlab.com", "", map[string]string{"ref": "main", "ref_protected": "true"}, "project_path"},
		{"gitlab", "https://gitlab.com", "", map[string]string{"user_login": "alice"}, "project_path"},
		{"gitlab", "https://gitlab.acme.test", "user:alice", nil, "project_path:GROUP/PROJECT"},
		{"kubernetes", "https://cluster.acme.test", "", map[string]string{"kubernetes.io/serviceaccount/name": "default"}, "kubernetes.io/namespace"},
		{"kubernetes", "https://cluster.acme.test", "system:serviceaccount:train", nil, "system:serviceaccount:NAMESPACE:NAME"},
		{"google", "https://accounts.google.com", "", map[string]string{"azp": "1"}, "email"},
		{"google", "https://accounts.google.com", "trainer", nil, "numeric"},
		{"aws", "https://oidc.eks.eu-west-1.amazonaws.com/id/ABC", "", map[string]string{"aud": "wandb"}, "aws_account"},
		{"azure", "https://sts.windows.net/11111111-2222-3333-4444-555555555555/", "", map[string]string{"tid": "11111111-2222-3333-4444-555555555555"}, "oid"},
		{"buildkite", "https://agent.buildkite.com", "", map[string]string{"pipeline_slug": "train"}, "organization_slug"},
		{"buildkite", "https://agent.buildkite.com", "", map[string]string{"build_branch": "main", "step_key": "train"}, "organization_slug"},
		{"", "https://idp.acme.test", "", map[string]string{"aud": "acme", "email_verified": "true"}, "claim that only your workloads have"},
		{"", "https://idp.acme.test", "", map[string]string{"ref": "main"}, "claim that only your workloads have"},
	}
	for _, test := range tests {
		issuer := TrustedIssuer{URL: test.issuer, Preset: test.preset}
		if err := issuer.Check(); err != nil {
			t.Fatalf("%s: %v", test.issuer, err)
		}
		err := issuer.checkMapping(test.subject, test.claims)
		if iam.KindOf(err) != iam.KindInvalid || !strings.Contains(err.Error(), test.remedy) {
			t.Errorf("%s %q %v: %v; want advice that names %s", test.preset, test.subject, test.claims, err, test.remedy)
		}
	}
}

func TestPresetsAreForTheirIssuers(t *testing.T) {
	for issuer, presets := range map[string]string{
		github:           "github_actions",
		github + "/acme": "github_actions",
		"https://github.acme.test/_services/token":                                        "github_actions",
		"https://accounts.google.com":                                                     "google",
		"https://agent.buildkite.com":                                                     "buildkite",
		"https://6f2b8a51-0c1d-4f6e-9a57-2f1f6a0c7b11.tokens.sts.global.api.aws":          "aws",
		"https://oidc.eks.eu-central-1.amazonaws.com/id/0123456789ABCDEF0123456789ABCDEF": "aws",
		"https://login.microsoftonline.com/11111111-2222-3333-4444-555555555555/v2.0":     "azure",
		"https://sts.windows.net/11111111-2222-3333-4444-555555555555/":                   "azure",
		"https://gitlab.acme.test":                                                        "", "https://kubernetes.default.svc.cluster.local": "",
		"https://token.actions.githubusercontent.com.evil.test": "", "https://evil.test/?x=https://accounts.google.com": "",
		"https://login.microsoftonline.com/common/v2.0": "", "https://sts.windows.net/common/": "",
		"https://evil.tokens.sts.global.api.aws": "", "http://127.0.0.1:1": "any",
	} {
		for _, name := range PresetNames() {
			p, err := findPreset(name)
			if err != nil {
				t.Fatal(err)
			}
			general := name == "gitlab" || name == "kubernetes" // whose issuers have any address
			want := general && !strings.Contains(issuer, "?") || name == presets
			if presets == "any" {
				continue // a loopback issuer stands for any, in tests and behind tunnels
			}
			if p.isOf(issuer) != want {
				t.Errorf("%s is an issuer of %s: %t", issuer, name, !want)
			}
		}
	}
	for issuer, want := range map[string]string{
		github:                        "github_actions",
		"https://gitlab.com":          "gitlab",
		"https://accounts.google.com": "google",
		"https://agent.buildkite.com": "buildkite",
		"https://6f2b8a51-0c1d-4f6e-9a57-2f1f6a0c7b11.tokens.sts.global.api.aws":          "aws",
		"https://oidc.eks.eu-central-1.amazonaws.com/id/0123456789ABCDEF0123456789ABCDEF": "aws",
		"https://login.microsoftonline.com/11111111-2222-3333-4444-555555555555/v2.0":     "azure",
		"https://login.microsoftonline.us/11111111-2222-3333-4444-555555555555/v2.0":      "azure",
		"https://sts.windows.net/11111111-2222-3333-4444-555555555555/":                   "azure",
		"https://accounts.google.com.evil.test":                                           "",
		"https://gitlab.acme.test":                                                        "",
	} {
		got := ""
		if p := impliedPreset(issuer); p != nil {
			got = p.name
		}
		if got != want {
			t.Errorf("the address %s implies the preset %q, want %q", issuer, got, want)
		}
	}
}

// TestMappingsAreCheckedOnEveryWayIn: when an account is made, when an issuer gets a preset, and at
// start.
func TestMappingsAreCheckedOnEveryWayIn(t *testing.T) {
	h := newHouse(t)
	_, err := h.Directory.CreateServiceAccount(h.ctx, directory.NewServiceAccount{Name: "any", Team: h.vision, Issuer: github, Claims: map[string]string{"ref": "refs/heads/main"}})
	if iam.KindOf(err) != iam.KindInvalid || !strings.Contains(err.Error(), "repository") {
		t.Errorf("creating: %v", err)
	}
	const ci = "https://ci.acme.test"
	h.account(directory.NewServiceAccount{Name: "ci", Team: h.vision, Issuer: ci, Subject: "whatever"})
	h.must(h.CreateIssuer(h.ctx, TrustedIssuer{URL: ci}))
	err = h.SetIssuer(h.ctx, ci, func(t *TrustedIssuer) { t.Preset = "gitlab" })
	if iam.KindOf(err) != iam.KindInvalid || !strings.Contains(err.Error(), "ci") {
		t.Errorf("giving the issuer a preset: %v", err)
	}
	h.must(h.CheckMappings(h.ctx))
	c := h.Config
	c.Issuers = append(c.Issuers, TrustedIssuer{URL: ci, Preset: "gitlab"})
	s, err := New(c)
	h.must(err)
	if err := s.CheckMappings(h.ctx); err == nil || !strings.Contains(err.Error(), "service account ci") {
		t.Errorf("at start: %v", err)
	}
}

// TestSubjectClaimOfAPreset: where a claim that says whose workload it is stands in for `sub`, its value
// is the account's subject.
func TestSubjectClaimOfAPreset(t *testing.T) {
	h := newHouse(t, func(c *Config) {
		c.Issuers = append(c.Issuers, TrustedIssuer{URL: github, Preset: "github_actions", Subject: "claim repository_id",
			Algorithms: []jws.Algorithm{"ES256"}, Keys: c.Issuers[0].Keys})
	})
	job := h.account(directory.NewServiceAccount{Name: "job", Team: h.vision, Issuer: github, Subject: "456"})
	claims := map[string]any{"iss": github, "sub": "repo:acme/detector:ref:refs/heads/main", "repository_id": "456"}
	made := h.exchange(h.assertion(claims))
	if who, err := h.Identify(h.ctx, made.Token); err != nil || who.Ref != job.Ref() {
		t.Errorf("%v, %v", who, err)
	}
	for name, value := range map[string]any{"another's": "457", "a number": 456, "missing": nil, "a list": []string{"456"}} {
		claims["repository_id"] = value
		if got := h.refusal(h.assertion(claims)); got != ReasonSubject && got != ReasonBadClaims {
			t.Errorf("%s: refused as %s", name, got)
		}
	}
}
