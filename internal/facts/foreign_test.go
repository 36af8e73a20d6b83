package facts_test

import (
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/wandb-gateway/wandb-gateway/internal/directory"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// A key that the server knows, and that is known to be nobody's here, is the gateway's own from the moment
// that it is recorded here, and the server's again when it is deleted here.
func TestKeyOfTheServerBecomesOurs(t *testing.T) {
	d, local := localFacts(t)
	w := beside(t, local, server(t))
	c := iam.Credential{Kind: iam.CredentialAPIKey, Secret: iam.NewSecret(key("mia"))}
	want := func(upstream bool) {
		t.Helper()
		for range 3 { // looked for, and remembered
			p, err := w.Identify(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			if p.FromUpstream != upstream {
				t.Fatalf("%s of the server: %t, want %t", p.Ref, p.FromUpstream, upstream)
			}
		}
	}
	want(true)
	if _, err := d.Import(t.Context(), []byte(`{"organization": "acme", "users": [{"username": "eve", "email": "eve@acme.test", "role": "member", "models_seat": "full", "weave_seat": "full", "active": true}]}`), directory.ImportOptions{}); err != nil {
		t.Fatal(err)
	}
	want(true)
	eve, err := d.FindUser(t.Context(), "eve")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		made, err := d.ImportKey(t.Context(), eve.Ref(), "laptop", c.Secret)
		if err != nil {
			t.Fatal(err)
		}
		want(false)
		if _, err := d.DeleteKey(t.Context(), eve.Ref(), made.After.ID); err != nil {
			t.Fatal(err)
		}
		want(true)
	}
}

// A key that is recorded here and has ended is not the server's to judge, though the server knows it.
func TestEndedKeyIsNotTheServers(t *testing.T) {
	d, local := localFacts(t)
	w := beside(t, local, server(t))
	c := iam.Credential{Kind: iam.CredentialAPIKey, Secret: iam.NewSecret(key("mia"))}
	if p, err := w.Identify(t.Context(), c); err != nil || !p.FromUpstream { // and is remembered as the server's
		t.Fatal(p, err)
	}
	if _, err := d.Import(t.Context(), []byte(`{"users": [{"username": "eve", "role": "admin"}], "api_keys": [{"owner": "eve", "key": "`+key("mia")+`", "expires": "2020-01-31"}]}`), directory.ImportOptions{}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if p, err := w.Identify(t.Context(), c); iam.KindOf(err) != iam.KindUnauthenticated || iam.ReasonOf(err) != directory.ReasonKeyExpired {
			t.Errorf("%v, %v", p, err)
		}
	}
}

// What is known of a key serves the kind of credential that it was found for, and only while the store
// answers: else nobody can tell whether the key was recorded here meanwhile.
func TestForeignKeysNeedTheStore(t *testing.T) {
	_, local, cache := cachedFacts(t)
	s := server(t)
	var asked atomic.Int64
	w := beside(t, local, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		s.ServeHTTP(rw, r)
	}))
	mia := iam.Credential{Kind: iam.CredentialAPIKey, Secret: iam.NewSecret(key("mia"))}
	for range 2 {
		if _, err := w.Identify(t.Context(), mia); err != nil {
			t.Fatal(err)
		}
	}
	bearer := mia
	bearer.Bearer = true
	before := asked.Load()
	if p, err := w.Identify(t.Context(), bearer); err == nil && asked.Load() == before {
		t.Errorf("%s, by a credential about which the server was not asked", p.Ref)
	}
	cache.Close()
	for _, c := range []iam.Credential{mia, {Kind: iam.CredentialAPIKey, Secret: iam.NewSecret(key("otto"))}} {
		if p, err := w.Identify(t.Context(), c); iam.KindOf(err) != iam.KindUnavailable {
			t.Errorf("%v, %v without the store", p, err)
		}
	}
}

// Only of keys that the server knows is it remembered that they are nobody's here: whoever invents keys
// takes no place of others (threats K08).
func TestInventedKeysAreNotRememberedAsForeign(t *testing.T) {
	w := wandbFacts(t, server(t))
	for name, known := range map[string]bool{"mia": true, "ci": true, "invented": false} {
		c := iam.Credential{Kind: iam.CredentialAPIKey, Secret: iam.NewSecret(key(name))}
		for range 2 {
			if _, err := w.Identify(t.Context(), c); (err == nil) != known {
				t.Errorf("%s: %v", name, err)
			}
		}
		if w.KnownForeign(c) != known {
			t.Errorf("%s is remembered: %t", name, !known)
		}
	}
}
