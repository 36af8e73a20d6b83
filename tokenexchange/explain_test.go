package tokenexchange

import (
	"strings"
	"testing"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/keys/jws"
)

func TestExplain(t *testing.T) {
	h := newHouse(t)
	made := h.exchange(h.assertion(nil))
	expired := h.assertion(map[string]any{"iat": h.now.Load() - 4000, "exp": h.now.Load() - 3000})
	for name, test := range map[string]struct {
		token   iam.Secret
		verdict string
		reason  iam.Reason
		last    string // the last check
	}{
		"assertion":    {h.assertion(nil), "accepted: an assertion, which is exchanged for an access token of the user alice", "", "principal"},
		"access token": {made.Token, "accepted: an access token, which works as the user alice", "", "principal"},
		"expired":      {expired, "refused: token_expired", ReasonExpired, "token_expired"},
		"no token":     {iam.NewSecret("x"), "refused: assertion_malformed", jws.ReasonMalformed, "assertion_malformed"},
		"audience":     {h.assertion(map[string]any{"aud": "other"}), "refused: wrong_audience", ReasonAudience, "wrong_audience"},
	} {
		x := h.Explain(h.ctx, test.token)
		if x.Verdict != test.verdict || x.Reason != test.reason || x.Accepted != (test.reason == "") || x.Checks[len(x.Checks)-1].Check != test.last {
			t.Errorf("%s: %+v", name, x)
		}
		for _, c := range x.Checks {
			if parts := strings.Split(test.token.Reveal(), "."); len(parts) == 3 && (strings.Contains(c.Detail, parts[1]) || strings.Contains(c.Detail, parts[2])) {
				t.Errorf("%s: a check shows the token: %s", name, c.Detail)
			}
		}
	}
	h.must(h.RevokeToken(h.ctx, made.ID))
	if x := h.Explain(h.ctx, made.Token); x.Reason != ReasonRevoked {
		t.Errorf("revoked: %+v", x)
	}
	h.store.away.Store(true)
	if x := h.Explain(h.ctx, h.assertion(map[string]any{"sub": "never seen"})); x.Accepted {
		t.Errorf("with the store away: %+v", x)
	}
}

func TestDiagnosePinnedIssuer(t *testing.T) {
	h := newHouse(t)
	checks, err := h.Diagnose(h.ctx, issuerURL)
	h.must(err)
	text := ""
	for _, c := range checks {
		if c.Result != "ok" {
			t.Errorf("%+v", c)
		}
		text += c.Detail + "\n"
	}
	for _, want := range []string{"acme, wandb", "1 pinned", "trainer"} {
		if !strings.Contains(text, want) {
			t.Errorf("it does not say %q:\n%s", want, text)
		}
	}
	slash, err := h.Diagnose(h.ctx, issuerURL+"/")
	h.must(err)
	found := false
	for _, c := range slash {
		found = found || c.Result == "fault" && strings.Contains(c.Detail, "byte for byte")
	}
	if slash[0].Result != "fault" || !found {
		t.Errorf("an issuer with a slash more: %+v", slash)
	}
	if _, err := h.Diagnose(h.ctx, "http://idp.acme.test"); iam.KindOf(err) != iam.KindInvalid {
		t.Errorf("no issuer: %v", err)
	}
}
