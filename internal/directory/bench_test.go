package directory_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/wandb-gateway/wandb-gateway/authz"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/store"
	"github.com/wandb-gateway/wandb-gateway/internal/store/embedded"
)

// BenchmarkIdentifyAndFacts is what every request pays: whose key is it, and what does it touch
// (design section 9: with the decision under 2 µs).
func BenchmarkIdentifyAndFacts(b *testing.B) {
	h, ctx := newHouse(b), context.Background()
	alice := h.user("alice")
	vision := h.team("vision", alice)
	for i := range 5 {
		h.team(fmt.Sprintf("team-%d", i), alice)
	}
	h.project(vision.Entity(), "detector", iam.VisibilityRestricted, alice.Ref())
	key := h.key(alice.Ref())
	h.facts(alice.Ref(), "vision", "detector")

	b.Run("both", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			p, err := h.PrincipalByKey(ctx, key)
			if err != nil {
				b.Fatal(err)
			}
			if f, err := h.Facts(ctx, p, "vision", "detector"); err != nil || f.Project == nil {
				b.Fatal(f, err)
			}
		}
	})
	b.Run("identify", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := h.PrincipalByKey(ctx, key); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("unknown key", func(b *testing.B) {
		b.ReportAllocs()
		unknown := iam.NewSecret("0123456789012345678901234567890123456789")
		for b.Loop() {
			if _, err := h.PrincipalByKey(ctx, unknown); err == nil {
				b.Fatal("found")
			}
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				p, err := h.PrincipalByKey(ctx, key)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := h.Facts(ctx, p, "vision", "detector"); err != nil {
					b.Fatal(err)
				}
			}
		})
	})
}

// BenchmarkCold is BenchmarkIdentifyAndFacts as a proxy meets it: 10,000 keys in no order, and between
// two requests other work that pushes what they touch out of the processor's first caches. "other work"
// is that work alone, to be taken off.
func BenchmarkCold(b *testing.B) {
	const users, projects, keys = 1_000, 1_000, 10_000
	s, err := embedded.Open(embedded.Config{Directory: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	filled := fill(b, s, users, projects, keys)
	h, ctx := onStore(b, s, authz.Settings{}), context.Background()
	secrets, names := make([]iam.Secret, keys), make([]string, projects)
	for i := range secrets {
		secrets[i] = iam.NewSecret(filled[i])
	}
	for i := range names {
		names[i] = fmt.Sprintf("project-%d", i)
	}
	request := func(b *testing.B, i int) {
		p, err := h.PrincipalByKey(ctx, secrets[i])
		if err != nil {
			b.Fatal(err)
		}
		if f, err := h.Facts(ctx, p, "team-0", names[i%projects]); err != nil || f.Project == nil {
			b.Fatal(f, err)
		}
	}
	for range 2 { // what came too fast for the cache the first time
		for i := range keys {
			request(b, i)
		}
	}
	// A request's work in net/http and Caddy allocates and reads some 16 KB, never the same.
	const line, work = 64, 16 << 10
	memory, at, sum := make([]byte, 64<<20), 0, 0
	between := func() {
		for range work / line {
			at = (at + 4099*line) % len(memory)
			memory[at]++
			sum += int(memory[at])
		}
	}
	b.Run("other work", func(b *testing.B) {
		for b.Loop() {
			between()
		}
	})
	b.Run("requests", func(b *testing.B) {
		n := 0
		b.ReportAllocs()
		for b.Loop() {
			between()
			n = (n + 7919) % keys
			request(b, n)
		}
	})
}

// BenchmarkScale looks keys up at random in a small and in a large organization (design section 9:
// a million keys as fast as a thousand).
func BenchmarkScale(b *testing.B) {
	for _, size := range []struct{ users, projects, keys int }{
		{100, 100, 1_000},
		{100_000, 100_000, 1_000_000},
	} {
		b.Run(fmt.Sprintf("keys=%d", size.keys), func(b *testing.B) { benchmarkScale(b, size.users, size.projects, size.keys) })
	}
}

func benchmarkScale(b *testing.B, users, projects, keys int) {
	s, err := embedded.Open(embedded.Config{Directory: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	began := time.Now()
	secrets := fill(b, s, users, projects, keys)
	filled := time.Since(began)
	began = time.Now()
	h, ctx := onStore(b, s, authz.Settings{}), context.Background()
	opened := time.Since(began)

	look := func(b *testing.B, among int) {
		at := 0
		b.ReportAllocs()
		for b.Loop() {
			at = (at + 7919) % among
			p, err := h.PrincipalByKey(ctx, iam.NewSecret(secrets[at]))
			if err != nil {
				b.Fatal(err)
			}
			if f, err := h.Facts(ctx, p, "team-0", fmt.Sprintf("project-%d", at%min(projects, 1000))); err != nil || f.Project == nil {
				b.Fatal(f, err)
			}
		}
		b.ReportMetric(filled.Seconds(), "s-to-fill")
		b.ReportMetric(float64(opened.Milliseconds()), "ms-to-open")
	}
	b.Run("1000 hot keys", func(b *testing.B) { look(b, 1000) })
	b.Run("all keys", func(b *testing.B) { look(b, keys) })
}

// fill writes records as the directory would, past its rules: a million single changes would take
// hours of fsync.
func fill(b *testing.B, s store.Store, users, projects, keys int) []string {
	var batch []store.Write
	flush := func() {
		if _, err := s.Commit(context.Background(), batch...); err != nil {
			b.Fatal(err)
		}
		batch = batch[:0]
	}
	put := func(key string, v any) {
		value, err := json.Marshal(v)
		if err != nil {
			b.Fatal(err)
		}
		batch = append(batch, store.Write{Key: organization + "/" + key, Value: value})
		if len(batch) == 20_000 {
			flush()
		}
	}
	put("team/team_0", iam.Team{ID: "team_0", Name: "team-0"})
	put("entity/team-0", map[string]string{"id": "team_0", "name": "team-0"})
	for i := range users {
		put(fmt.Sprintf("user/usr_%d", i), iam.User{ID: iam.UserID(fmt.Sprintf("usr_%d", i)), Username: fmt.Sprintf("user-%d", i),
			Role: iam.OrganizationMember, ModelsSeat: iam.SeatFull, WeaveSeat: iam.SeatFull, Active: true,
			Teams: []iam.TeamMembership{{Team: "team_0", Role: iam.RoleMember}}})
	}
	for i := range projects {
		name := fmt.Sprintf("project-%d", i)
		put("project/team_0/"+name, iam.Project{ID: iam.ProjectID("prj_" + name), Entity: "team_0", Name: name, Visibility: iam.VisibilityTeam})
	}
	secrets := make([]string, keys)
	mac := hmac.New(sha256.New, append([]byte{1}, make([]byte, 31)...))
	for i := range keys {
		secrets[i] = fmt.Sprintf("local-%040d", i)
		mac.Reset()
		mac.Write([]byte(secrets[i]))
		put("key/"+hex.EncodeToString(mac.Sum(nil)), map[string]string{"owner": fmt.Sprintf("user:usr_%d", i%users), "id": "00000000"})
	}
	flush()
	return secrets
}
