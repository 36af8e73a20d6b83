//go:build e2e

package redis

import (
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/store"
	"github.com/wandb-gateway/wandb-gateway/internal/store/redis/redistest"
)

func benchKey(i int) string { return fmt.Sprintf("acme/keys/%08x%08x", uint32(i)*2654435761, i) }

// filled opens a store with records, and reports what each costs in Redis.
func filled(b *testing.B, records int) *Store {
	b.Helper()
	server := redistest.Start(b)
	s := open(b, Config{URL: "redis://" + server.Address})
	used := func() float64 {
		for line := range strings.Lines(server.Do("INFO", "memory")) {
			if value, ok := strings.CutPrefix(strings.TrimSpace(line), "used_memory:"); ok {
				n, _ := strconv.ParseFloat(value, 64)
				return n
			}
		}
		b.Fatal("no used_memory")
		return 0
	}
	before, began := used(), time.Now()
	for first := 0; first < records; first += 10_000 {
		var writes []store.Write
		for i := first; i < min(first+10_000, records); i++ {
			writes = append(writes, store.Write{Key: benchKey(i), Value: make([]byte, 200)})
		}
		if _, err := s.Commit(b.Context(), writes...); err != nil {
			b.Fatal(err)
		}
	}
	if records == 1 {
		return s
	}
	b.Logf("%d records of 200 bytes: %.0f bytes and %.1f microseconds for each", records,
		(used()-before)/float64(records), float64(time.Since(began).Microseconds())/float64(records))
	return s
}

func BenchmarkGet(b *testing.B) {
	s := filled(b, 100_000)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, err := s.Get(b.Context(), benchKey(i%100_000)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRevision(b *testing.B) {
	s := filled(b, 1)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Get(b.Context(), store.RevisionKey("acme")); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkList(b *testing.B) {
	s := filled(b, 100_000)
	for _, limit := range []int{10, 1000, store.MaxListed} {
		b.Run(fmt.Sprintf("records=%d", limit), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if page, err := s.List(b.Context(), "acme/keys/", benchKey(500), limit); err != nil || len(page) != limit {
					b.Fatal(len(page), err)
				}
			}
		})
	}
}

func BenchmarkCommit(b *testing.B) {
	for _, callers := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			s := filled(b, 1)
			var n atomic.Int64
			b.ReportAllocs()
			b.SetParallelism(callers)
			began := time.Now()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := s.Commit(b.Context(), store.Write{Key: benchKey(int(n.Add(1))), Value: make([]byte, 200), Expect: store.Absent()}); err != nil {
						b.Error(err)
						return
					}
				}
			})
			b.ReportMetric(float64(b.N)/time.Since(began).Seconds(), "commits/s")
		})
	}
}
