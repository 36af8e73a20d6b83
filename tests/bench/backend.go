package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/standin"
)

// Backends are gateways whose facts come from elsewhere, beside the one that has them in its own file, by
// the headings of their columns.
const (
	ownStore     = "embedded store" // the measure
	sharedStore  = "store redis"
	serverRecord = "directory wandb"
)

// backendLoads are what backends are compared with, by their place among the work loads: a request that
// is judged by its path, and one that is judged by its GraphQL.
var backendLoads = []int{0, 2}

// prepareBackends starts the gateways that are wanted, with the same population as the one in a file.
func (b *bench) prepareBackends(ctx context.Context) error {
	if b.comparesBackend(sharedStore) {
		if err := b.prepareRedis(ctx); err != nil {
			return err
		}
	}
	if b.comparesBackend(serverRecord) {
		return b.prepareRecord(ctx)
	}
	return nil
}

// comparesBackend reports whether a comparison with it is wanted.
func (b *bench) comparesBackend(name string) bool {
	for _, w := range backendLoads {
		p := b.backendPair(workloads(b.population)[w], &side{name: name})
		if p.has(b.work) {
			return true
		}
	}
	return false
}

func (b *bench) backendPair(w workload, s *side) pair {
	return pair{name: w.name, target: 0.95,
		left: b.gateway.sending(ownStore, w, (*clients).closedLoop), right: s.sending(s.name, w, (*clients).closedLoop)}
}

// prepareRedis starts a Redis server on the core of the load, and a gateway that keeps everything there.
func (b *bench) prepareRedis(ctx context.Context) error {
	process, address, err := startRedis(ctx, filepath.Join(b.folder, "redis"), b.loadCore)
	if err != nil {
		return err
	}
	b.processes = append(b.processes, process)
	masterKey := make([]byte, 32)
	rand.Read(masterKey) // never fails (crypto/rand)
	s, err := b.startGateway(ctx, sharedStore,
		fmt.Sprintf("redis redis://%s\n\t\tmaster_key %s", address, base64.StdEncoding.EncodeToString(masterKey)), local)
	if err != nil {
		return err
	}
	b.backends = append(b.backends, s)
	return s.fill(ctx, b.binary, b.folder, b.population)
}

// startRedis starts Debian's Redis server with an append-only file, as gateways want it, and with further
// settings.
func startRedis(ctx context.Context, home string, core int, settings ...string) (p *process, address string, err error) {
	program, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, "", errors.New("redis-server is missing: apt-get install redis-server, or measure something else with -work")
	}
	if address, err = freeAddress(); err != nil {
		return nil, "", err
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, "", err
	}
	command := append([]string{program, "--bind", "127.0.0.1", "--port", port, "--dir", home, "--appendonly", "yes", "--save", ""}, settings...)
	if p, err = start(ctx, "redis-server", home, core, command...); err != nil {
		return nil, "", err
	}
	if err := p.listening(ctx, address); err != nil {
		p.stop()
		return nil, "", err
	}
	return p, address, nil
}

// record is a stand-in W&B server that holds the population, in this process.
type record struct {
	url    string
	server *http.Server
}

func startRecord(p population) (*record, error) {
	handler, err := standin.New(p.record())
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &record{url: "http://" + l.Addr().String(), server: &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second}}
	go r.server.Serve(l) // ends with Close
	return r, nil
}

// record is the population as a W&B server has it.
func (p population) record() standin.Config {
	c := standin.Config{Organization: organization}
	for i := range p.users() {
		u := standin.User{Username: userName(i), Email: address(i), Name: userName(i), Admin: i == 0}
		for k := i * keysEach; k < min((i+1)*keysEach, p.keys); k++ {
			u.Keys = append(u.Keys, key(k))
		}
		c.Users = append(c.Users, u)
		if i%teamSize == 0 {
			team := teamName(i / teamSize)
			c.Teams = append(c.Teams, standin.Team{Name: team})
			for j := range p.perTeam() {
				c.Projects = append(c.Projects, standin.Project{Entity: team, Name: projectName(j)})
			}
		}
		t := &c.Teams[len(c.Teams)-1]
		t.Members = append(t.Members, standin.Member{User: u.Username})
	}
	return c
}

// prepareRecord starts a W&B server that knows the population, and a gateway that knows nobody itself.
// What it is told counts for as long as it may, so that all is measured from the cache.
func (b *bench) prepareRecord(ctx context.Context) error {
	var err error
	if b.record, err = startRecord(b.population); err != nil {
		return err
	}
	// The first person is an admin, whose key shows what callers do not see.
	s, err := b.startGateway(ctx, serverRecord, embedded,
		fmt.Sprintf("%s %s {\n\t\t\thits 10m\n\t\t\tapi_key %s\n\t\t}", serverRecord, b.record.url, key(0)))
	b.backends = append(b.backends, s)
	return err
}

// measureBackends compares each of them, when it has seen every key as the measure has.
func (b *bench) measureBackends(ctx context.Context) error {
	for _, other := range b.backends {
		if err := touch(ctx, b.population, other); err != nil {
			return err
		}
		if err := b.guarded(ctx, other); err != nil {
			return err
		}
		for _, i := range backendLoads {
			w := b.workloads[i]
			if err := w.learn(ctx, b.upstream, other); err != nil {
				return err
			}
			if err := b.add(ctx, b.backendPair(w, other)); err != nil {
				return err
			}
		}
	}
	return nil
}
