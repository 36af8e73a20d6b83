package embedded

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/store"
)

func BenchmarkGet(b *testing.B) {
	s := open(b, b.TempDir())
	fill(b, s, 10_000)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, err := s.Get(b.Context(), key(i%10_000)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCommit shows what sharing an fsync gives: commits per second by the number of callers.
func BenchmarkCommit(b *testing.B) {
	for _, callers := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			s := open(b, b.TempDir())
			var n atomic.Int64
			b.ReportAllocs()
			b.SetParallelism(callers)
			began := time.Now()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := s.Commit(b.Context(), store.Write{Key: key(int(n.Add(1))), Value: make([]byte, 200)}); err != nil {
						b.Error(err)
						return
					}
				}
			})
			b.ReportMetric(float64(b.N)/time.Since(began).Seconds(), "commits/s")
		})
	}
}

// BenchmarkOpen shows what looking at the whole file costs at start.
func BenchmarkOpen(b *testing.B) {
	for _, records := range []int{1_000, 1_000_000} {
		b.Run(fmt.Sprintf("records=%d", records), func(b *testing.B) {
			directory := b.TempDir()
			s, err := Open(Config{Directory: directory})
			if err != nil {
				b.Fatal(err)
			}
			fill(b, s, records)
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				s, err := Open(Config{Directory: directory})
				if err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				s.Close()
				b.StartTimer()
			}
		})
	}
}

func key(i int) string { return fmt.Sprintf("acme/keys/%08x%08x", uint32(i)*2654435761, i) }

func fill(b *testing.B, s *Store, records int) {
	b.Helper()
	for first := 0; first < records; first += 10_000 {
		var writes []store.Write
		for i := first; i < min(first+10_000, records); i++ {
			writes = append(writes, store.Write{Key: key(i), Value: make([]byte, 200)})
		}
		if _, err := s.Commit(b.Context(), writes...); err != nil {
			b.Fatal(err)
		}
	}
}
