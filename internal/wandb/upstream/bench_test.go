package upstream

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"

	"github.com/wandb-gateway/wandb-gateway/authz"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/standin"
)

// The paths that every request takes while the answers are remembered.
func BenchmarkPrincipalByCredential(b *testing.B) {
	s := newFakeServer()
	s.viewers[basic(aliceKey)] = alice
	d := directory(b, s)
	c := apiKey(aliceKey)
	if _, err := d.PrincipalByCredential(b.Context(), c); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.PrincipalByCredential(b.Context(), c); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPrincipalByCredentialParallel(b *testing.B) {
	s := newFakeServer()
	s.viewers[basic(aliceKey)] = alice
	d := directory(b, s)
	c := apiKey(aliceKey)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := d.PrincipalByCredential(b.Context(), c); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkFacts(b *testing.B) {
	s := newFakeServer()
	who := basic(aliceKey)
	s.viewers[who] = alice
	s.entities[who+" vision"], s.projects[who+" vision/p"] = visionEntity, project("p", "PRIVATE", visionEntity, `"readOnly":false`)
	d := directory(b, s)
	c := apiKey(aliceKey)
	p, err := d.PrincipalByCredential(b.Context(), c)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		f, err := d.Facts(b.Context(), p, c, "vision", "p")
		if err != nil || !authz.Decide(authz.Request{Permission: authz.RunWrite}, f).Allowed() {
			b.Fatal(err)
		}
	}
}

func BenchmarkFactsOfServiceAccount(b *testing.B) {
	s := withCI(ci, visionPeople)
	who := basic(ciKey)
	s.entities[who+" vision"], s.projects[who+" vision/p"] = visionEntity, project("p", "PRIVATE", visionEntity, `"readOnly":false`)
	d := directory(b, s)
	c := apiKey(ciKey)
	b.ReportAllocs()
	for b.Loop() {
		p, err := d.PrincipalByCredential(b.Context(), c)
		if err != nil {
			b.Fatal(err)
		}
		f, err := d.Facts(b.Context(), p, c, "vision", "p")
		if err != nil || !authz.Decide(authz.Request{Permission: authz.RunWrite}, f).Allowed() {
			b.Fatal(err)
		}
	}
}

func BenchmarkAttribute(b *testing.B) {
	d := directory(b, withCI(ci, visionPeople))
	c := apiKey(ciKey)
	p, err := d.PrincipalByCredential(b.Context(), c)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		person, err := d.Attribute(b.Context(), p, c, "vision", iam.Attribution{Username: "alice"})
		if err != nil || person == nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkKept is what a key takes that is remembered with a project, among 10,000 keys of people who have one
// or ten each: the collector marks all of it again and again, and pays for the number of the objects.
func BenchmarkKept(b *testing.B) {
	for _, each := range []int{1, 10} {
		b.Run(fmt.Sprint(each), func(b *testing.B) {
			for b.Loop() {
				kept(b, each)
			}
		})
	}
}

func kept(b *testing.B, each int) {
	const keys = 10_000
	var server http.Handler // away when what is kept is counted
	d := directory(b, transport(func(r *http.Request) (*http.Response, error) {
		w := httptest.NewRecorder()
		server.ServeHTTP(w, r)
		return w.Result(), nil
	}), withAdmin)
	before := heap()
	server = manyKeys(b, keys, each)
	for i := range keys {
		c := apiKey(callerKey(fmt.Sprintf("key-%d", i)))
		p, err := d.PrincipalByCredential(b.Context(), c)
		if err != nil {
			b.Fatal(err)
		}
		f, err := d.Facts(b.Context(), p, c, fmt.Sprintf("team-%d", i/each/teamSize), fmt.Sprintf("project-%d", i%teamProjects))
		if err != nil || !authz.Decide(authz.Request{Permission: authz.RunWrite}, f).Allowed() {
			b.Fatal(err)
		}
	}
	server = nil
	after := heap()
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/keys, "B/key")
	b.ReportMetric(float64(after.HeapObjects-before.HeapObjects)/keys, "objects/key")
	runtime.KeepAlive(d)
}

// heap is what is in use.
func heap() (m runtime.MemStats) {
	runtime.GC()
	runtime.GC() // what was pooled is gone after the second
	runtime.ReadMemStats(&m)
	return m
}

const teamSize, teamProjects = 20, 10

// manyKeys is a server with so many keys, each person having some of them.
func manyKeys(b *testing.B, keys, each int) http.Handler {
	b.Helper()
	config := standin.Config{Organization: "acme", Users: []standin.User{{Username: "root", Admin: true, Keys: []string{rootKey}}}}
	for i := range keys / each {
		user, team := fmt.Sprintf("user-%d", i), fmt.Sprintf("team-%d", i/teamSize)
		if i%teamSize == 0 {
			config.Teams = append(config.Teams, standin.Team{Name: team})
			for j := range teamProjects {
				config.Projects = append(config.Projects, standin.Project{Entity: team, Name: fmt.Sprintf("project-%d", j)})
			}
		}
		t := &config.Teams[len(config.Teams)-1]
		t.Members = append(t.Members, standin.Member{User: user})
		u := standin.User{Username: user, Email: user + "@acme.test", Name: user}
		for j := range each {
			u.Keys = append(u.Keys, callerKey(fmt.Sprintf("key-%d", i*each+j)))
		}
		config.Users = append(config.Users, u)
	}
	server, err := standin.New(config)
	if err != nil {
		b.Fatal(err)
	}
	return server
}
