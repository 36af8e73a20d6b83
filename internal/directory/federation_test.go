package directory_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/wandb-gateway/wandb-gateway/authz"
	"github.com/wandb-gateway/wandb-gateway/internal/directory"
	"github.com/wandb-gateway/wandb-gateway/internal/hotcache"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

const ciIssuer = "https://ci.example"

func claims(nameValues ...string) map[string]string {
	m := make(map[string]string)
	for i := 0; i < len(nameValues); i += 2 {
		m[nameValues[i]] = nameValues[i+1]
	}
	return m
}

func (h *house) external(name string, team iam.TeamID, claims map[string]string) iam.ServiceAccountID {
	h.Helper()
	c, err := h.CreateServiceAccount(context.Background(), directory.NewServiceAccount{Name: name, Team: team, Issuer: ciIssuer, Claims: claims})
	h.ok(err)
	return c.After.ID
}

// rules asserts which accounts an issuer's rules name, and that they say what the accounts say.
func (h *house) rules(issuer string, want ...iam.ServiceAccountID) {
	h.Helper()
	rules, err := h.ClaimRules(context.Background(), issuer)
	h.ok(err)
	var got []iam.ServiceAccountID
	for _, rule := range rules {
		got = append(got, rule.Account)
		a, err := h.ServiceAccount(context.Background(), rule.Account)
		h.ok(err)
		if a.Issuer != issuer || !maps.Equal(a.Claims, rule.Claims) {
			h.Errorf("the rule says %v of %s, the account %v of %s", rule.Claims, issuer, a.Claims, a.Issuer)
		}
	}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		h.Errorf("rules of %s are of %v, want %v", issuer, got, want)
	}
}

// TestClaimRulesFollowTheirAccounts through everything that can happen to an account.
func TestClaimRulesFollowTheirAccounts(t *testing.T) {
	h, ctx := newHouse(t), context.Background()
	vision, audio := h.team("vision"), h.team("audio")
	h.rules(ciIssuer)
	given := claims("repository", "acme/detector")
	a := h.external("a", vision, given)
	given["repository"] = "evil/detector" // the caller's map is the caller's
	b := h.external("b", audio, claims("repository", "acme/speech", "ref", "refs/heads/main"))
	h.rules(ciIssuer, a, b)
	h.rules(ciIssuer + "/") // another issuer, byte for byte
	if got, err := h.ServiceAccount(ctx, a); err != nil || got.Claims["repository"] != "acme/detector" || !got.Federated() {
		t.Errorf("%+v, %v", got, err)
	}
	_, _, err := h.MintKey(ctx, a.Ref(), "x") // FED-31
	h.refused(err, iam.KindInvalid, "owns no API keys")

	change := func(c directory.ServiceAccountChange) {
		t.Helper()
		_, err := h.SetServiceAccount(ctx, a, c)
		h.ok(err)
	}
	change(directory.ServiceAccountChange{Claims: ptr(claims("repository", "acme/other"))})
	h.rules(ciIssuer, a, b)
	off, on := false, true
	change(directory.ServiceAccountChange{Active: &off})
	h.rules(ciIssuer, a, b) // found, and refused as deactivated
	change(directory.ServiceAccountChange{Active: &on})
	change(directory.ServiceAccountChange{Issuer: ptr("https://other.example")})
	h.rules(ciIssuer, b)
	h.rules("https://other.example", a)
	change(directory.ServiceAccountChange{Claims: ptr(claims()), Subject: ptr("s")})
	h.rules("https://other.example")
	if id, err := h.FindServiceAccountBySubject(ctx, "https://other.example", "s"); id != a || err != nil {
		t.Errorf("found %q, %v", id, err)
	}
	change(directory.ServiceAccountChange{Claims: ptr(claims("x", "y")), Subject: ptr("")})
	h.rules("https://other.example", a)
	if id, err := h.FindServiceAccountBySubject(ctx, "https://other.example", "s"); id != "" || err != nil {
		t.Errorf("the old subject finds %q, %v", id, err)
	}
	change(directory.ServiceAccountChange{Claims: ptr(claims()), Issuer: ptr("")}) // built-in
	h.rules("https://other.example")
	h.key(a.Ref())
	_, err = h.SetServiceAccount(ctx, a, directory.ServiceAccountChange{Issuer: ptr(ciIssuer), Claims: ptr(claims("x", "y"))})
	h.refused(err, iam.KindConflict, "delete them first")
	h.rules(ciIssuer, b)

	_, err = h.DeleteTeam(ctx, audio) // and its accounts
	h.ok(err)
	h.rules(ciIssuer)
	c := h.external("c", vision, claims("x", "y"))
	h.rules(ciIssuer, c)
	h.pruned(`{"service_accounts":[]}`)
	h.rules(ciIssuer)
}

func TestTwoAccountsCannotHaveTheSameClaims(t *testing.T) {
	h, ctx := newHouse(t), context.Background()
	vision := h.team("vision")
	a := h.external("a", vision, claims("x", "1", "y", "2"))
	b := h.external("b", vision, claims("x", "1"))
	h.external("c", vision, claims("x", "1", "y", "3"))
	_, err := h.CreateServiceAccount(ctx, directory.NewServiceAccount{Name: "d", Team: vision, Issuer: ciIssuer, Claims: claims("y", "2", "x", "1")})
	h.refused(err, iam.KindConflict, "the same claims")
	_, err = h.SetServiceAccount(ctx, b, directory.ServiceAccountChange{Claims: ptr(claims("x", "1", "y", "2"))})
	h.refused(err, iam.KindConflict, "the same claims")
	_, err = h.SetServiceAccount(ctx, a, directory.ServiceAccountChange{Claims: ptr(claims("x", "1", "y", "2"))})
	h.ok(err) // its own
	if p := h.principal(a.Ref()); p.Epoch != 0 {
		t.Errorf("the same claims ended its tokens: %+v", p)
	}
	_, err = h.CreateServiceAccount(ctx, directory.NewServiceAccount{Name: "d", Team: vision, Issuer: "https://other.example", Claims: claims("x", "1", "y", "2")})
	h.ok(err) // of another issuer
}

func TestExternalAccountsThatCannotBe(t *testing.T) {
	h, ctx := newHouse(t), context.Background()
	vision := h.team("vision")
	many := map[string]string{}
	for i := range 17 {
		many[fmt.Sprint("claim", i)] = "x"
	}
	for _, c := range []struct {
		name  string
		n     directory.NewServiceAccount
		cause string
	}{
		{"subject and claims", directory.NewServiceAccount{Team: vision, Issuer: ciIssuer, Subject: "s", Claims: claims("x", "y")}, "one of the two only"},
		{"issuer alone", directory.NewServiceAccount{Team: vision, Issuer: ciIssuer}, "the subject or the claims"},
		{"claims without issuer", directory.NewServiceAccount{Team: vision, Claims: claims("x", "y")}, "the issuer"},
		{"of the organization", directory.NewServiceAccount{DefaultTeam: vision, Issuer: ciIssuer, Subject: "s"}, "needs a team"}, // FED-26
		{"wildcard subject", directory.NewServiceAccount{Team: vision, Issuer: ciIssuer, Subject: "repo:acme/*:ref:refs/heads/main"}, "repository=acme/detector"},
		{"question mark", directory.NewServiceAccount{Team: vision, Issuer: ciIssuer, Subject: "repo:acme/detecto?"}, "wildcard"},
		{"nothing but a wildcard", directory.NewServiceAccount{Team: vision, Issuer: ciIssuer, Subject: "*"}, "wildcard"},
		{"wildcard value", directory.NewServiceAccount{Team: vision, Issuer: ciIssuer, Claims: claims("repository", "acme/*")}, "wildcard"},
		{"wildcard name", directory.NewServiceAccount{Team: vision, Issuer: ciIssuer, Claims: claims("repo*", "acme")}, "wildcard"},
		{"empty value", directory.NewServiceAccount{Team: vision, Issuer: ciIssuer, Claims: claims("repository", "")}, "is empty"},
		{"empty name", directory.NewServiceAccount{Team: vision, Issuer: ciIssuer, Claims: claims("", "x")}, "is empty"},
		{"NUL", directory.NewServiceAccount{Team: vision, Issuer: ciIssuer, Subject: "repo:acme\x00"}, "plain text"},
		{"line end in a value", directory.NewServiceAccount{Team: vision, Issuer: ciIssuer, Claims: claims("x", "y\r\n")}, "plain text"},
		{"no UTF-8", directory.NewServiceAccount{Team: vision, Issuer: ciIssuer, Claims: claims("x", "\xff")}, "plain text"},
		{"line end in the issuer", directory.NewServiceAccount{Team: vision, Issuer: ciIssuer + "\n", Subject: "s"}, "plain text"},
		{"17 claims", directory.NewServiceAccount{Team: vision, Issuer: ciIssuer, Claims: many}, "may have 16"},
		{"long name", directory.NewServiceAccount{Team: vision, Issuer: ciIssuer, Claims: claims(strings.Repeat("n", 257), "x")}, "may have 256"},
		{"long value", directory.NewServiceAccount{Team: vision, Issuer: ciIssuer, Claims: claims("x", strings.Repeat("v", 1025))}, "may have 1024"},
		{"long subject", directory.NewServiceAccount{Team: vision, Issuer: ciIssuer, Subject: strings.Repeat("s", 1025)}, "may have 1024"},
		{"long issuer", directory.NewServiceAccount{Team: vision, Issuer: "https://" + strings.Repeat("i", 1024), Subject: "s"}, "may have 1024"},
	} {
		c.n.Name = "x"
		_, err := h.CreateServiceAccount(ctx, c.n)
		h.TB.Log(c.name)
		h.refused(err, iam.KindInvalid, c.cause)
	}
	if id, err := h.FindServiceAccount(ctx, "x"); id != "" || err != nil {
		t.Errorf("%q, %v", id, err)
	}
	delete(many, "claim0")
	h.external("most", vision, many)
	h.external("longest", vision, claims(strings.Repeat("n", 256), strings.Repeat("v", 1024)))
}

// TestMoreClaimRulesThanARecordHolds: an issuer's rules are one record, which has a bound.
func TestMoreClaimRulesThanARecordHolds(t *testing.T) {
	h, ctx := newHouse(t), context.Background()
	team := h.team("vision")
	var err error
	for i := 0; err == nil && i < 100; i++ {
		big := map[string]string{}
		for j := range 16 {
			big[fmt.Sprint("claim", j)] = strings.Repeat("v", 1000) + fmt.Sprint(i)
		}
		_, err = h.CreateServiceAccount(ctx, directory.NewServiceAccount{Name: fmt.Sprint("sa", i), Team: team, Issuer: ciIssuer, Claims: big})
	}
	h.refused(err, iam.KindTooLarge, "claim rules of all service accounts of "+ciIssuer)
}

// TestCheckFederation: what is safe for an issuer is known elsewhere, and asked on every way in.
func TestCheckFederation(t *testing.T) {
	inner, ctx := newHouse(t), context.Background()
	var asked []string
	strict := false
	d, err := directory.New(directory.Config{Cache: inner.cache, Organization: organization, HMACKey: [32]byte{1},
		CheckFederation: func(_ context.Context, issuer, subject string, claims map[string]string) error {
			asked = append(asked, fmt.Sprint(issuer, " ", subject, claims))
			if strict && claims["repository"] == "" {
				return iam.Invalidf("name the repository")
			}
			return nil
		}})
	inner.ok(err)
	h := &house{TB: t, Directory: d, cache: inner.cache, store: inner.store}
	vision := h.team("vision")
	h.teamAccount("built-in", vision)
	if asked != nil {
		t.Errorf("asked about an account with keys: %q", asked)
	}
	a := h.external("a", vision, claims("actor", "octocat"))
	if len(asked) != 1 || asked[0] != ciIssuer+" map[actor:octocat]" {
		t.Errorf("asked %q", asked)
	}
	strict = true
	off, on := false, true
	_, err = h.CreateServiceAccount(ctx, directory.NewServiceAccount{Name: "b", Team: vision, Issuer: ciIssuer, Subject: "s"})
	h.refused(err, iam.KindInvalid, "name the repository")
	_, err = h.SetServiceAccount(ctx, a, directory.ServiceAccountChange{Claims: ptr(claims("actor", "hubot"))})
	h.refused(err, iam.KindInvalid, "name the repository")
	_, err = h.Import(ctx, []byte(`{"service_accounts":[{"name":"c","team":"vision","issuer":"https://ci.example","claims":{"x":"y"}}]}`), directory.ImportOptions{})
	h.refused(err, iam.KindInvalid, "service_accounts[0] (c): name the repository")
	h.count(h.imported(h.exported()), directory.ImportResult{Unchanged: 3}) // what is there is not judged by an import of it
	_, err = h.SetServiceAccount(ctx, a, directory.ServiceAccountChange{Active: &off})
	h.ok(err) // taking access away never waits for a better rule
	_, err = h.SetServiceAccount(ctx, a, directory.ServiceAccountChange{Active: &on})
	h.refused(err, iam.KindInvalid, "name the repository")
	_, err = h.SetServiceAccount(ctx, a, directory.ServiceAccountChange{Active: &on, Claims: ptr(claims("repository", "acme/detector"))})
	h.ok(err)
	h.rules(ciIssuer, a)
}

func TestFederatedListsExternalAccountsOnly(t *testing.T) {
	h, ctx := newHouse(t), context.Background()
	h.imported(contract)
	h.imported(`{"service_accounts":[{"name":"gl","team":"vision","issuer":"https://gitlab.example","claims":{"x":"y"}}]}`)
	var names []string
	h.ok(h.Federated(ctx, func(a *iam.ServiceAccount) error { names = append(names, a.Name); return nil }))
	slices.Sort(names)
	if !slices.Equal(names, []string{"gh-train", "gl"}) {
		t.Errorf("%q", names)
	}
	stop := errors.New("enough")
	if err := h.Federated(ctx, func(*iam.ServiceAccount) error { return stop }); err != stop {
		t.Errorf("%v", err)
	}
}

// TestClaimRulesRace: whoever adds and removes rules of one issuer at the same moment meets on its
// record, and neither is lost.
func TestClaimRulesRace(t *testing.T) {
	h, ctx := newHouse(t), context.Background()
	vision := h.team("vision")
	for round := range 10 {
		old := h.external(fmt.Sprint("old", round), vision, claims("round", fmt.Sprint(round)))
		var mu sync.Mutex
		var made []iam.ServiceAccountID
		var all sync.WaitGroup
		all.Go(func() { h.check(second(h.DeleteServiceAccount(ctx, old))) })
		for i := range 3 {
			all.Go(func() {
				c, err := h.CreateServiceAccount(ctx, directory.NewServiceAccount{Name: fmt.Sprintf("new%d-%d", round, i), Team: vision, Issuer: ciIssuer,
					Claims: claims("twin", fmt.Sprint(i/2))}) // two of the three are the same rule
				if err == nil {
					mu.Lock()
					defer mu.Unlock()
					made = append(made, c.After.ID)
				}
			})
		}
		all.Wait()
		if len(made) != 2 {
			t.Errorf("round %d: %d accounts with two rules", round, len(made))
		}
		h.rules(ciIssuer, made...)
		for _, id := range made {
			h.ok(second(h.DeleteServiceAccount(ctx, id)))
		}
	}
	h.rules(ciIssuer)
}

// TestClaimRulesThroughASession: what is derived from an issuer's rules is forgotten with the first
// of them, and with its account.
func TestClaimRulesThroughASession(t *testing.T) {
	h, ctx := newHouse(t), context.Background()
	vision := h.team("vision")
	derived := func() []directory.ClaimRule {
		t.Helper()
		rules, err := hotcache.Derived(ctx, h.View(), []byte("test"), func(ctx context.Context, v *hotcache.View) ([]directory.ClaimRule, error) {
			return h.ClaimRulesIn(ctx, v, ciIssuer)
		})
		h.ok(err)
		return rules
	}
	if rules := derived(); rules != nil {
		t.Errorf("%v", rules)
	}
	a := h.external("a", vision, claims("x", "y"))
	if rules := derived(); len(rules) != 1 || rules[0].Account != a {
		t.Errorf("%v", rules)
	}
	h.ok(second(h.DeleteServiceAccount(ctx, a)))
	if rules := derived(); rules != nil {
		t.Errorf("%v", rules)
	}

	s := &silent{Store: h.store}
	away := onStore(t, s, authz.Settings{})
	s.away = true
	if _, err := away.ClaimRules(ctx, ciIssuer); iam.KindOf(err) != iam.KindUnavailable {
		t.Errorf("the store is away: %v", err)
	}
}

func TestLastAdminIsCountedAsBefore(t *testing.T) { // ORG-9, with what EndCredentials writes
	h, ctx := newHouse(t), context.Background()
	root := h.admin("root")
	h.ok(h.EndCredentials(ctx, root.Ref()))
	_, err := h.SetUser(ctx, root, directory.UserChange{Active: ptr(false)})
	h.refused(err, iam.KindConflict, "without an active admin")
	if p := h.principal(root.Ref()); p.Epoch != 1 || !p.Active {
		t.Errorf("%+v", p)
	}
}
