package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestAsManyProjectsAsPeople: a large population is what the budget names, and callers find their own projects.
func TestAsManyProjectsAsPeople(t *testing.T) {
	p := population{keys: 3 * keysEach * teamSize, projects: teamSize}
	r := p.people(0, p.users())
	if len(r.Projects) != len(r.Users) || len(r.Users) != 3*teamSize {
		t.Errorf("%d people have %d projects", len(r.Users), len(r.Projects))
	}
	there := map[string]bool{}
	for _, project := range r.Projects {
		there[project.Entity+"/"+project.Name] = true
	}
	for i := range p.keys {
		if c := p.caller(i); !there[c.entity+"/"+c.project] {
			t.Errorf("key %d works in %s/%s, which nobody made", i, c.entity, c.project)
		}
	}
}

// TestSomebody: those whom provisioning is about are no admins, and a part of one's name finds nobody else.
func TestSomebody(t *testing.T) {
	for _, keys := range []int{smallKeys, 1_000_000} {
		p := population{keys: keys}
		seen := map[string]bool{}
		for _, user := range p.somebody() {
			if user <= 0 || user >= p.users() {
				t.Errorf("%d keys: somebody is %d", keys, user)
			}
			seen[userName(user)] = true
			if len(userName(user)) != len(userName(p.users()-1)) {
				t.Errorf("%d keys: %s is shorter than %s", keys, userName(user), userName(p.users()-1))
			}
		}
		if len(seen) != callersEach {
			t.Errorf("%d keys: %d people", keys, len(seen))
		}
	}
}

func TestProvisioningIsWhatItClaims(t *testing.T) {
	p := population{keys: smallKeys}
	ids := map[int]string{}
	for _, user := range p.somebody() {
		ids[user] = "usr_" + userName(user)
	}
	for _, r := range p.provisioning(ids) {
		for _, raw := range r.requests {
			got, body := read(t, raw)
			if _, password, ok := got.BasicAuth(); !ok || password != key(0) {
				t.Errorf("%s: the key is %q, not the admin's", r.name, password)
			}
			one := strings.HasPrefix(got.URL.Path, "/scim/v2/Users/usr_user-")
			if list := got.URL.Path == "/scim/v2/Users" && got.URL.RawQuery != ""; list == one || list != (r.total > 0) {
				t.Errorf("%s: %s", r.name, got.URL)
			}
			if (got.Method == "PATCH") != json.Valid(body) {
				t.Errorf("%s: %s with %s", r.name, got.Method, body)
			}
		}
	}
}

// TestWrongAnswersAreNotTimed: lists that count wrong, a list in place of a person and refusals end the run.
func TestWrongAnswersAreNotTimed(t *testing.T) {
	const alice = `{"userName":"alice"}`
	for name, c := range map[string]struct {
		status int
		body   string
		total  int
		wrong  bool
	}{
		"a list":                   {200, `{"totalResults":3,"Resources":[` + alice + `]}`, 3, false},
		"a person":                 {200, alice, 0, false},
		"another number":           {200, `{"totalResults":4}`, 3, true},
		"a person, not a list":     {200, alice, 1, true},
		"a list, not a person":     {200, `{"totalResults":1,"Resources":[` + alice + `]}`, 0, true},
		"nothing":                  {200, `{}`, 0, true},
		"no JSON":                  {200, `<html>`, 0, true},
		"a refusal":                {403, alice, 0, true},
		"unavailable":              {503, alice, 0, true},
		"made in place of changed": {201, alice, 0, true},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(c.status)
			w.Write([]byte(c.body))
		}))
		s := &side{address: server.Listener.Addr().String(), process: &process{name: "fake"}}
		_, err := provisioned{name: name, requests: [][]byte{getFile(someone)}, total: c.total}.try(t.Context(), s)
		if (err != nil) != c.wrong {
			t.Errorf("%s: %v", name, err)
		}
		server.Close()
	}
}

// TestVariedAnswers: where lengths differ, the status alone decides.
func TestVariedAnswers(t *testing.T) {
	w := workload{varied: true, want: response{status: 200}}
	if err := w.right(response{200, 77}); err != nil {
		t.Error(err)
	}
	if err := w.right(response{503, 0}); err == nil {
		t.Error("a refusal counts")
	}
}
