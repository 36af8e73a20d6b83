package upstream

import (
	"testing"

	"github.com/wandb-gateway/wandb-gateway/authz"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
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
