package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// profileFor is how long each CPU profile samples.
const profileFor = 10 * time.Second

// profile saves a CPU profile of both sides under each work load, for `go tool pprof`. Profiling
// costs time, so nothing is measured meanwhile.
func (b *bench) profile(ctx context.Context) error {
	if b.profiles == "" {
		return nil
	}
	if err := os.MkdirAll(b.profiles, 0o755); err != nil {
		return err
	}
	for _, w := range b.workloads {
		for _, s := range []*side{b.plain, b.gateway} {
			name := strings.ReplaceAll(strings.ToLower(s.name+" "+w.name), " ", "-") + ".pprof"
			if err := b.profileOne(ctx, s, w, filepath.Join(b.profiles, name)); err != nil {
				return fmt.Errorf("profile of %s under %s: %w", s.name, w.name, err)
			}
		}
	}
	return nil
}

func (b *bench) profileOne(ctx context.Context, s *side, w workload, path string) error {
	c, err := newClients(ctx, s.address, b.connections, w)
	if err != nil {
		return err
	}
	defer c.close()
	loaded := make(chan outcome)
	go func() { loaded <- c.closedLoop(profileFor + time.Second) }()
	err = download(ctx, fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", s.admin, int(profileFor.Seconds())), path)
	if o := <-loaded; err == nil {
		err = o.failure
	}
	return err
}

func download(ctx context.Context, url, path string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, answer.Status)
	}
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	if _, err := io.Copy(file, answer.Body); err != nil {
		file.Close()
		return err
	}
	return file.Close()
}
