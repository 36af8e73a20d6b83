package hotcache

import (
	"context"
	"fmt"
	"runtime"
	"testing"

	"github.com/wandb-gateway/wandb-gateway/internal/store"
)

// warm returns a cache that has these records, as many as it can keep.
func warm(b *testing.B, records int, maxBytes int64) *Cache {
	b.Helper()
	f := newFake()
	f.silent.Store(true)
	for i := range records {
		f.records[benchKey(i)] = store.Record{Key: benchKey(i), Value: make([]byte, 200), Version: 1}
	}
	f.revision = 1
	c, err := New(Config{Store: f, Space: "acme", MaxBytes: maxBytes})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Close() })
	return c
}

func benchKey(i int) string { return fmt.Sprintf("acme/keys/%016x", i) }

type benchRecord struct{ version store.Revision }

func decodeBench(r store.Record) (*benchRecord, error) { return &benchRecord{r.Version}, nil }

func deriveBench(ctx context.Context, v *View) (*benchRecord, error) {
	var last *benchRecord
	for _, key := range []string{"acme/keys/0000000000000000", "acme/keys/0000000000000001", "acme/keys/0000000000000002", "acme/keys/0000000000000003"} {
		var err error
		if last, err = Read(ctx, v, key, decodeBench); err != nil {
			return nil, err
		}
	}
	return last, nil
}

func BenchmarkReadHit(b *testing.B) {
	c := warm(b, 1, DefaultMaxBytes)
	key := benchKey(0)
	Read(b.Context(), c.View(), key, decodeBench)
	c.settle()
	b.ReportAllocs()
	for b.Loop() {
		if r, err := Read(b.Context(), c.View(), key, decodeBench); err != nil || r.version != 1 {
			b.Fatal(err)
		}
	}
}

func BenchmarkDerivedHit(b *testing.B) {
	c := warm(b, 4, DefaultMaxBytes)
	Derived(b.Context(), c.View(), []byte("principal"), deriveBench)
	c.settle()
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		v := c.View()
		if r, err := Derived(ctx, v, []byte("principal"), deriveBench); err != nil || r.version != 1 || !v.Valid() {
			b.Fatal(err)
		}
	}
}

func BenchmarkDerivedHitParallel(b *testing.B) {
	c := warm(b, 4, DefaultMaxBytes)
	Derived(b.Context(), c.View(), []byte("principal"), deriveBench)
	c.settle()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		ctx := context.Background()
		for pb.Next() {
			if r, err := Derived(ctx, c.View(), []byte("principal"), deriveBench); err != nil || r.version != 1 {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkReadHitOfMany reads from a million cached records, in an order that the processor's
// caches cannot foresee.
func BenchmarkReadHitOfMany(b *testing.B) {
	const records = 1 << 20
	c := warm(b, records, 2<<30)
	keys := make([]string, records)
	for i := range records {
		keys[i] = benchKey(i)
		Read(b.Context(), c.View(), keys[i], decodeBench)
		if i%1000 == 0 {
			c.settle()
		}
	}
	c.settle()
	before := c.loads.Load()
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		n += 777_767_777
		if _, err := Read(b.Context(), c.View(), keys[n%records], decodeBench); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(c.loads.Load()-before)/float64(b.N), "misses/op")
}

// BenchmarkMemory reports the bytes that a million cached records take, beside the decoded values.
func BenchmarkMemory(b *testing.B) {
	const records = 1 << 20
	for b.Loop() {
		c := warm(b, records, 2<<30)
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		for i := range records {
			Read(b.Context(), c.View(), benchKey(i), decodeBench)
			if i%1000 == 0 {
				c.settle()
			}
		}
		c.settle()
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/records, "B/entry")
		estimated := c.kept.MaxCost() - c.kept.RemainingCost()
		b.ReportMetric(float64(estimated)/records, "estimated-B/entry")
		runtime.KeepAlive(c)
	}
}

func BenchmarkDerivedMiss(b *testing.B) {
	c := warm(b, 4, DefaultMaxBytes)
	missing := func(ctx context.Context, v *View) (*benchRecord, error) {
		return Read(ctx, v, "acme/keys/none", decodeBench)
	}
	Derived(b.Context(), c.View(), []byte("nobody"), missing)
	c.settle()
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Derived(ctx, c.View(), []byte("nobody"), missing); err != store.ErrNotFound {
			b.Fatal(err)
		}
	}
}
