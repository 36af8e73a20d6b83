//go:build e2e

package migrate

import (
	"fmt"
	"strings"
	"testing"

	"github.com/wandb-gateway/wandb-gateway/internal/store"
	"github.com/wandb-gateway/wandb-gateway/internal/store/redis/redistest"
)

// BenchmarkMove moves 100,000 records of the size of an API key's between a file and a real Redis server,
// whole: copied, compared and declared done.
//
//	go test -tags e2e -run '^$' -bench Move ./internal/store/migrate
func BenchmarkMove(b *testing.B) {
	file := openEmbedded(b)
	fillKeys(b, file, 100_000)
	server := openRedisAt(b, redistest.Start(b).Address)
	if _, err := Run(b.Context(), between(file, server)); err != nil {
		b.Fatal(err)
	}
	b.Run("to Redis", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			to := openRedisAt(b, redistest.Start(b).Address)
			b.StartTimer()
			measured(b, file, to)
		}
	})
	b.Run("to a file", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			to := openEmbedded(b)
			b.StartTimer()
			measured(b, server, to)
		}
	})
}

func measured(b *testing.B, from store.Store, to store.Advancer) {
	b.Helper()
	if _, err := Run(b.Context(), between(from, to)); err != nil {
		b.Fatal(err)
	}
}

// fillKeys makes records under keys like those of hashes.
func fillKeys(b *testing.B, s store.Store, n int) {
	b.Helper()
	commit(b, s, put(identity, "x"))
	value := strings.Repeat("v", 200)
	var writes []store.Write
	for i := range n {
		writes = append(writes, put(fmt.Sprintf("acme/key/%016x%016x", uint64(i)*0x9E3779B97F4A7C15, i), value))
		if len(writes) == 10_000 {
			commit(b, s, writes...)
			writes = writes[:0]
		}
	}
}
