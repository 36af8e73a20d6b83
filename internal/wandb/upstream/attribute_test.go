package upstream

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

func TestAttribute(t *testing.T) {
	root := basic(rootKey)
	several, none := ciIn("audio", "vision"), strings.Replace(ciIn(), `{`, `{"accountType":"SERVICE",`, 1)
	tests := []struct {
		name        string
		viewer      string // ci if empty
		destination string
		claim       iam.Attribution
		change      func(*fakeServer)
		credential  iam.Credential // the account's key if zero
		noAdmin     bool
		want        string // user name
	}{
		// ATTR-3, ATTR-4: names and addresses.
		{name: "user name", claim: iam.Attribution{Username: "alice"}, want: "alice"},
		{name: "user name in other letters", claim: iam.Attribution{Username: "Alice"}},
		{name: "address", claim: iam.Attribution{Email: "alice@ACME.test"}, want: "alice"},
		{name: "address as user name", claim: iam.Attribution{Username: "alice@acme.test"}, want: "alice"},
		{name: "user name before address", claim: iam.Attribution{Username: "alice", Email: "mail@acme.test"}, want: "alice"},
		{name: "address does not mend a user name", claim: iam.Attribution{Username: "bob", Email: "alice@acme.test"}},
		{name: "a user name that is another's address", claim: iam.Attribution{Username: "mail@acme.test"}, want: "mail@acme.test"},
		{name: "an address that is another's user name", claim: iam.Attribution{Email: "mail@acme.test"}, want: "mail"},
		{name: "sort not told", claim: iam.Attribution{Username: "untyped"}, want: "untyped"},
		{name: "no claim"},
		{name: "empty address of others", claim: iam.Attribution{Email: " "}},
		{name: "nobody", claim: iam.Attribution{Username: "nobody"}},
		{name: "longer than a name", claim: iam.Attribution{Username: strings.Repeat("a", 257)}},

		// Rows that are no person.
		{name: "itself", claim: iam.Attribution{Username: "ci"}},
		{name: "another service account", claim: iam.Attribution{Username: "ci-2"}},
		{name: "another service account by address", claim: iam.Attribution{Email: "ci-2@acme.test"}},
		{name: "not accepted yet", claim: iam.Attribution{Username: "pending"}},
		{name: "invited by address", claim: iam.Attribution{Email: "invited@acme.test"}},
		{name: "two rows of one name", claim: iam.Attribution{Username: "twin"}},
		{name: "two rows of one name by address", claim: iam.Attribution{Email: "twin-1@acme.test"}, want: "twin"},
		{name: "two rows of one address", claim: iam.Attribution{Email: "shared@acme.test"}},
		{name: "a user name that is none", claim: iam.Attribution{Username: "no name"}},

		// ATTR-5, 6, 8: an account of one team.
		{name: "destination is its team", destination: "vision", claim: iam.Attribution{Username: "alice"}, want: "alice"},
		{name: "destination elsewhere, person at home", destination: "audio", claim: iam.Attribution{Username: "alice"}, want: "alice"},
		{name: "destination elsewhere, person there", destination: "audio", claim: iam.Attribution{Username: "bob"}},

		// ATTR-9: an account of several teams.
		{name: "several teams, member of the destination", viewer: several, destination: "audio", claim: iam.Attribution{Username: "bob"}, want: "bob"},
		{name: "several teams, member of another", viewer: several, destination: "audio", claim: iam.Attribution{Username: "alice"}},
		{name: "several teams, no destination", viewer: several, claim: iam.Attribution{Username: "alice"}},
		{name: "several teams, no destination but a default", viewer: strings.Replace(several, `"entity":null`, `"entity":"vision"`, 1), claim: iam.Attribution{Username: "alice"}, want: "alice"},
		{name: "several teams, a default that is none of them", viewer: strings.Replace(several, `"entity":null`, `"entity":"speech"`, 1), claim: iam.Attribution{Username: "alice"}},
		{name: "several teams, a destination that nobody knows", viewer: several, destination: "nowhere", claim: iam.Attribution{Username: "alice"}},
		{name: "no team is told", viewer: none, destination: "vision", claim: iam.Attribution{Username: "alice"}},

		// Lists that do not tell.
		{name: "closed", claim: iam.Attribution{Username: "alice"}, noAdmin: true, change: func(s *fakeServer) { s.members["vision"] = "403" }},
		{name: "closed, open to the administrator", claim: iam.Attribution{Username: "alice"}, want: "alice",
			change: func(s *fakeServer) { s.lists[basic(ciKey)+" vision"] = "403" }},
		{name: "failing, open to the administrator", claim: iam.Attribution{Username: "alice"}, want: "alice",
			change: func(s *fakeServer) { s.lists[basic(ciKey)+" vision"] = "500" }},
		{name: "without addresses, with them to the administrator", claim: iam.Attribution{Email: "alice@acme.test"}, want: "alice",
			change: func(s *fakeServer) {
				s.lists[basic(ciKey)+" vision"] = `[{"username":"alice","accountType":"MEMBER"}]`
			}},
		{name: "without addresses", claim: iam.Attribution{Email: "alice@acme.test"}, noAdmin: true,
			change: func(s *fakeServer) { s.members["vision"] = `[{"username":"alice","accountType":"MEMBER"}]` }},
		{name: "shown to the account, which is not listed for the administrator", claim: iam.Attribution{Username: "bob"},
			change: func(s *fakeServer) { s.lists[root+" vision"] = audioPeople }},
		{name: "ticket", claim: iam.Attribution{Username: "alice"}, want: "alice",
			credential: iam.Credential{Kind: iam.CredentialTicket, Secret: iam.NewSecret("t")}},
		{name: "ticket without an administrator", claim: iam.Attribution{Username: "alice"}, noAdmin: true,
			credential: iam.Credential{Kind: iam.CredentialTicket, Secret: iam.NewSecret("t")}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			viewer := tt.viewer
			if viewer == "" {
				viewer = ci
			}
			s := withCI(viewer, visionPeople)
			var config []func(*Config)
			if !tt.noAdmin {
				config = append(config, withAdmin)
			}
			d := directory(t, s, config...)
			p := principal(t, d, apiKey(ciKey))
			if !p.IsServiceAccount() {
				t.Fatalf("%s is no service account", p.Ref)
			}
			if tt.change != nil {
				s.set(tt.change)
			}
			if tt.credential.Kind == iam.NoCredential {
				tt.credential = apiKey(ciKey)
			}
			for range 2 { // the second answer is remembered
				person, err := d.Attribute(t.Context(), p, tt.credential, tt.destination, tt.claim)
				if err != nil {
					t.Fatal(err)
				}
				if person == nil {
					if tt.want != "" {
						t.Errorf("nobody, want %s", tt.want)
					}
					continue
				}
				if person.Username != tt.want || !person.IsUser() || !person.Active || person.Organization != "acme" {
					t.Errorf("%+v, want %q", person, tt.want)
				}
			}
		})
	}
}

// A person borrows no name, whatever the lists say, and neither does an account of the gateway's own
// from here.
func TestPeopleBorrowNoName(t *testing.T) {
	s := withCI(ci, visionPeople)
	s.viewers[basic(aliceKey)] = alice
	d := directory(t, s, withAdmin)
	local := &iam.Principal{Ref: iam.NewServiceAccountID().Ref(), Organization: "acme", Active: true, Scope: iam.TeamRef{ID: "team_x", Name: "vision"}}
	for _, p := range []*iam.Principal{nil, local, principal(t, d, apiKey(aliceKey))} {
		person, err := d.Attribute(t.Context(), p, apiKey(aliceKey), "vision", iam.Attribution{Username: "mail"})
		if person != nil || err != nil {
			t.Errorf("%+v names %+v, %v", p, person, err)
		}
	}
}

// What cannot be set into a header is left out.
func TestAttributedAddressCanBeAHeader(t *testing.T) {
	d := directory(t, withCI(ci, visionPeople))
	person, err := d.Attribute(t.Context(), principal(t, d, apiKey(ciKey)), apiKey(ciKey), "", iam.Attribution{Username: "line"})
	if err != nil || person == nil || person.Email != "" {
		t.Errorf("%+v, %v", person, err)
	}
}

// A list that fails is neither yes nor no: the client tries again, and its run is not left without
// the person for good.
func TestAttributeWhileTheListFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := withCI(ci, visionPeople)
		d := directory(t, s)
		p := principal(t, d, apiKey(ciKey))
		claim := iam.Attribution{Username: "alice"}
		s.set(func(s *fakeServer) { s.members["vision"] = "500" })
		_, err := d.Attribute(t.Context(), p, apiKey(ciKey), "", claim)
		wantKind(t, err, iam.KindUnavailable)
		s.set(func(s *fakeServer) { s.members["vision"] = visionPeople })
		time.Sleep(backoff)
		if person, err := d.Attribute(t.Context(), p, apiKey(ciKey), "", claim); err != nil || person == nil {
			t.Errorf("%+v, %v", person, err)
		}
	})
}

// Who left the team is named no longer than Hits, in constant use, too; who joined it is found after
// Misses; and neither takes a question for every request.
func TestAttributionHasItsBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := withCI(ci, visionPeople)
		d := directory(t, s)
		p := principal(t, d, apiKey(ciKey))
		attributed := func(name string) bool {
			t.Helper()
			person, err := d.Attribute(t.Context(), p, apiKey(ciKey), "vision", iam.Attribution{Username: name})
			if err != nil {
				t.Fatal(err)
			}
			return person != nil
		}
		asked := s.count("GatewayPeople")
		for range 300 { // five minutes
			if !attributed("alice") || attributed("bob") {
				t.Fatal("alice is in the team and bob is not")
			}
			synctest.Wait()
			time.Sleep(time.Second)
		}
		if n := s.count("GatewayPeople") - asked; n < 35 || n > 50 {
			t.Errorf("asked %d times in five minutes, want about every 40 s for the one and every 10 s for the other", n)
		}
		s.set(func(s *fakeServer) { s.members["vision"] = audioPeople })
		for left := time.Now(); attributed("alice"); time.Sleep(time.Second) {
			if synctest.Wait(); time.Since(left) > DefaultHits {
				t.Fatal("alice is named after the bound")
			}
		}
		for joined := time.Now(); !attributed("bob"); time.Sleep(time.Second) {
			if synctest.Wait(); time.Since(joined) > DefaultMisses {
				t.Fatal("bob is not named after the bound")
			}
		}
	})
}

// What is forgotten of a team is forgotten of its people.
func TestForgetTeamForgetsItsPeople(t *testing.T) {
	s := withCI(ci, visionPeople)
	d := directory(t, s)
	p := principal(t, d, apiKey(ciKey))
	for _, want := range []bool{true, false} {
		person, err := d.Attribute(t.Context(), p, apiKey(ciKey), "", iam.Attribution{Username: "alice"})
		if err != nil || (person != nil) != want {
			t.Errorf("%+v, %v, want somebody: %t", person, err, want)
		}
		s.set(func(s *fakeServer) { s.members["vision"] = audioPeople })
		d.Forget("vision", "")
	}
}
