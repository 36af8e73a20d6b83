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

// profile saves, for `go tool pprof`, all sides' heaps and what they spend under each work load that was
// measured: CPU time and allocations. Profiling costs time, so nothing is measured meanwhile.
func (b *bench) profile(ctx context.Context) error {
	if b.profiles == "" {
		return nil
	}
	if err := os.MkdirAll(b.profiles, 0o755); err != nil {
		return err
	}
	for _, s := range append([]*side{b.plain, b.gateway}, b.backends...) {
		if err := s.save(ctx, "heap?gc=1", b.path(s.name+" heap")); err != nil {
			return err
		}
	}
	done := make(map[string]bool)
	for _, r := range b.results {
		for _, who := range []contender{r.left, r.right} {
			what := who.name + " " + r.name
			if r.open || who.once || done[what] {
				continue // a profile takes longer than what is sent once
			}
			done[what] = true
			if err := b.profileOne(ctx, who, what); err != nil {
				return fmt.Errorf("profile of %s: %w", what, err)
			}
		}
	}
	return nil
}

func (b *bench) profileOne(ctx context.Context, who contender, what string) error {
	s := who.side
	c, err := newClients(ctx, s.address, b.connections, who.load(0))
	if err != nil {
		return err
	}
	defer c.close()
	loaded := make(chan outcome)
	go func() { loaded <- c.closedLoop(2*profileFor + time.Second) }()
	seconds := int(profileFor.Seconds())
	err = errors.Join(
		s.save(ctx, fmt.Sprintf("profile?seconds=%d", seconds), b.path(what)),
		s.save(ctx, fmt.Sprintf("allocs?seconds=%d", seconds), b.path(what+" allocs")),
	)
	o := <-loaded
	fmt.Fprintf(b.progress, "%s: %.0f requests/s while it was profiled\n", what, float64(len(o.latencies))/o.elapsed.Seconds())
	return errors.Join(err, o.failure)
}

// save downloads a profile from the side's admin endpoint.
func (s *side) save(ctx context.Context, profile, path string) error {
	return download(ctx, "http://"+s.admin+"/debug/pprof/"+profile, path)
}

func (b *bench) path(what string) string {
	return filepath.Join(b.profiles, strings.NewReplacer(" ", "-", "/", "").Replace(strings.ToLower(what))+".pprof")
}
