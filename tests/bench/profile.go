package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// profileFor is how long each CPU profile samples.
const profileFor = 10 * time.Second

// profile saves, for `go tool pprof`, both sides' heaps and what they spend under each work load: CPU
// time and allocations. Profiling costs time, so nothing is measured meanwhile.
func (b *bench) profile(ctx context.Context) error {
	if b.profiles == "" {
		return nil
	}
	if err := os.MkdirAll(b.profiles, 0o755); err != nil {
		return err
	}
	for _, s := range []*side{b.plain, b.gateway} {
		if err := s.save(ctx, "heap?gc=1", b.path(s, "heap")); err != nil {
			return err
		}
	}
	for _, w := range b.workloads {
		for _, s := range []*side{b.plain, b.gateway} {
			if err := b.profileOne(ctx, s, w); err != nil {
				return fmt.Errorf("profile of %s under %s: %w", s.name, w.name, err)
			}
		}
	}
	return nil
}

func (b *bench) profileOne(ctx context.Context, s *side, w workload) error {
	c, err := newClients(ctx, s.address, b.connections, w)
	if err != nil {
		return err
	}
	defer c.close()
	loaded := make(chan outcome)
	go func() { loaded <- c.closedLoop(2*profileFor + time.Second) }()
	seconds := int(profileFor.Seconds())
	err = errors.Join(
		s.save(ctx, fmt.Sprintf("profile?seconds=%d", seconds), b.path(s, w.name)),
		s.save(ctx, fmt.Sprintf("allocs?seconds=%d", seconds), b.path(s, w.name+" allocs")),
	)
	o := <-loaded
	fmt.Fprintf(b.progress, "%s, %s: %.0f requests/s while it was profiled\n", s.name, w.name, float64(len(o.latencies))/o.elapsed.Seconds())
	return errors.Join(err, o.failure)
}

// save downloads a profile from the side's admin endpoint.
func (s *side) save(ctx context.Context, profile, path string) error {
	return download(ctx, "http://"+s.admin+"/debug/pprof/"+profile, path)
}

func (b *bench) path(s *side, what string) string {
	return filepath.Join(b.profiles, strings.ReplaceAll(strings.ToLower(s.name+" "+what), " ", "-")+".pprof")
}
