package upstream

import (
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/wandb-gateway/wandb-gateway/authz"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// Those who are shown one place share what is kept of it, and each is judged as if they were alone: the
// owner, another member, a guest, and whom it is hidden from, in one Directory at the same time as in one
// each.
func TestPlacesAreSharedAndCallersAreNot(t *testing.T) {
	viewer := func(name, team string) string {
		return fmt.Sprintf(`{"id":"id-of-%[1]s","username":%[1]q,"entity":%[1]q,"teams":{"edges":[{"node":{"name":%[2]q}}]}}`, name, team)
	}
	const own = `{"name":"alice","isTeam":false,"readOnly":false}`
	s := newFakeServer()
	callers := map[string]string{"alice": "vision", "anton": "vision", "bob": "audio", "carol": "vision"}
	for name, team := range callers {
		who := basic(callerKey(name))
		s.viewers[who] = viewer(name, team)
		s.entities[who+" vision"], s.entities[who+" alice"] = visionEntity, own
	}
	for _, name := range []string{"alice", "anton", "bob"} {
		who := basic(callerKey(name))
		s.projects[who+" vision/p"] = project("p", "RESTRICTED", visionEntity, fmt.Sprintf(`"readOnly":%t,"user":{"id":"id-of-alice"}`, name == "bob"))
		s.projects[who+" alice/q"] = project("q", "USER_READ", own, `"user":{"username":"alice"}`)
	}
	root := basic(rootKey)
	s.projects[root+" vision/p"] = project("p", "RESTRICTED", visionEntity, `"readOnly":false,"user":{"id":"id-of-alice"}`)
	s.projects[root+" alice/q"] = project("q", "USER_READ", own, `"user":{"username":"alice"}`)

	type question struct{ name, entity, project string }
	ask := func(d *Directory, q question) (authz.Facts, error) {
		c := apiKey(callerKey(q.name))
		p, err := d.PrincipalByCredential(t.Context(), c)
		if err != nil {
			return authz.Facts{}, err
		}
		return d.Facts(t.Context(), p, c, q.entity, q.project)
	}
	alone := make(map[question]authz.Facts)
	for name := range callers {
		for _, at := range []string{"vision/p", "vision/", "alice/q", "alice/"} {
			entity, project, _ := strings.Cut(at, "/")
			q := question{name, entity, project}
			f, err := ask(directory(t, s, withAdmin), q)
			if err != nil {
				t.Fatal(q, err)
			}
			alone[q] = f
		}
	}
	together := directory(t, s, withAdmin)
	for range 3 { // asked for the first time, and remembered
		var asking sync.WaitGroup
		for q, want := range alone {
			asking.Go(func() {
				if got, err := ask(together, q); err != nil || !reflect.DeepEqual(got, want) {
					t.Errorf("%v: %+v, %v; alone %+v", q, got, err, want)
				}
			})
		}
		asking.Wait()
	}

	facts := func(name, entity, project string) authz.Facts { return alone[question{name, entity, project}] }
	for _, name := range []string{"alice", "anton"} {
		f := facts(name, "vision", "p")
		if _, invited := f.Project.Member(f.Principal.Ref); !invited || len(f.Project.Members) != 1 || (f.Project.Owner == f.Principal.Ref) != (name == "alice") {
			t.Errorf("%s is told %+v", name, f.Project)
		}
	}
	if got := facts("bob", "vision", "p").Project; got.Visibility != iam.VisibilityPublic || got.Members != nil {
		t.Errorf("a guest is told %+v", got)
	}
	if got := facts("carol", "vision", "p").Project; got == nil || got.Visibility != iam.VisibilityRestricted || got.Members != nil || got.Owner != (iam.PrincipalRef{}) {
		t.Errorf("whom it is hidden from is told %+v", got)
	}
}

// A person and a place are kept once, however many keys they are told to, and anew when something else is
// told.
func TestWhatIsToldAlikeIsKeptOnce(t *testing.T) {
	s := newFakeServer()
	for _, key := range []string{aliceKey, bobKey, rootKey} {
		s.viewers[basic(key)] = alice
		s.projects[basic(key)+" vision/p"] = project("p", "PRIVATE", visionEntity, `"readOnly":false`)
	}
	d := directory(t, s)
	find := func(key string) (*iam.Principal, *iam.Project) {
		p := principal(t, d, apiKey(key))
		f, err := d.Facts(t.Context(), p, apiKey(key), "vision", "p")
		if err != nil || f.Project == nil {
			t.Fatal(f, err)
		}
		return p, f.Project
	}
	p1, at1 := find(aliceKey)
	p2, at2 := find(bobKey)
	if p1 != p2 || at1 != at2 {
		t.Errorf("two keys of one person: %p %p, one project: %p %p", p1, p2, at1, at2)
	}
	s.set(func(s *fakeServer) {
		s.viewers[basic(rootKey)] = strings.ReplaceAll(alice, `"admin":false`, `"admin":true`)
		s.projects[basic(rootKey)+" vision/p"] = project("p", "USER_READ", visionEntity, `"readOnly":false`)
	})
	p3, at3 := find(rootKey)
	if p3.Role != iam.OrganizationAdmin || p1.Role != iam.OrganizationMember {
		t.Errorf("roles %s, before %s", p3.Role, p1.Role)
	}
	if at3.Visibility != iam.VisibilityPublic || at1.Visibility != iam.VisibilityTeam {
		t.Errorf("visibility %d, before %d", at3.Visibility, at1.Visibility)
	}
}
