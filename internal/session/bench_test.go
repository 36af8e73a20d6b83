package session_test

import (
	"context"
	"strings"
	"testing"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// BenchmarkFind is what every request with a session cookie pays first. An API key is beside it: both
// should cost the same.
func BenchmarkFind(b *testing.B) {
	h, ctx := newHouse(b), context.Background()
	d, who := newDirectory(h)
	secret, _ := h.signIn(from(who, "00u1", "sid-1"))
	h.waitCached(secret)

	b.Run("cached", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			v := h.cache.View()
			if _, err := h.Find(ctx, v, secret); err != nil || !v.Valid() {
				b.Fatal(err)
			}
		}
	})
	b.Run("unknown", func(b *testing.B) {
		b.ReportAllocs()
		unknown := iam.NewSecret(strings.Repeat("A", 43))
		for b.Loop() {
			if _, err := h.Find(ctx, h.cache.View(), unknown); err == nil {
				b.Fatal("found")
			}
		}
	})
	b.Run("wrong form", func(b *testing.B) {
		b.ReportAllocs()
		wrong := iam.NewSecret(strings.Repeat("=", 43))
		for b.Loop() {
			if _, err := h.Find(ctx, h.cache.View(), wrong); err == nil {
				b.Fatal("found")
			}
		}
	})
	b.Run("with principal", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			v := h.cache.View()
			x, err := h.Find(ctx, v, secret)
			if err != nil {
				b.Fatal(err)
			}
			if p, err := d.PrincipalIn(ctx, v, x.Principal); err != nil || !v.Valid() {
				b.Fatal(p, err)
			}
		}
	})
	b.Run("principal of an API key", func(b *testing.B) {
		key, _, err := d.MintKey(ctx, who, "laptop")
		h.ok(err)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := d.PrincipalByKey(ctx, key); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := h.Find(ctx, h.cache.View(), secret); err != nil {
					b.Fatal(err)
				}
			}
		})
	})
}

// TestFindAllocates holds Find to what BenchmarkFind shows: a hit makes the record's key and no more.
func TestFindAllocates(t *testing.T) {
	h, ctx := newHouse(t), context.Background()
	secret, _ := h.signIn(from(alice, "00u1", "sid-1"))
	h.waitCached(secret)
	before, least := h.store.reads.Load(), 1e9
	for range 100 { // the race detector makes pools forget, now and then
		least = min(least, testing.AllocsPerRun(1, func() {
			v := h.cache.View()
			if _, err := h.Find(ctx, v, secret); err != nil || !v.Valid() {
				t.Fatal(err)
			}
		}))
	}
	if least > 1 {
		t.Errorf("a hit makes %v allocations", least)
	}
	if n := h.store.reads.Load() - before; n > 10 { // the cache asks for the revision every second
		t.Errorf("hits read the store %d times", n)
	}
}
