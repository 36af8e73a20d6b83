package main

import (
	"context"
	"fmt"
	"time"
)

// plan says how long and how often is measured.
type plan struct {
	rounds           int
	duration, warmUp time.Duration
	connections      int
	rate             int // of the open loop, requests each second
}

// measured is what one round found out about one side.
type measured struct {
	throughput             float64 // requests each second
	cpu                    float64 // microseconds of the proxy's CPU time for each request
	busy                   float64 // share of the time in which the proxy was on its core
	p50, p99               float64 // microseconds
	allocations, allocated float64 // by the proxy for each request: number, bytes
	outcome
}

// measurement is one side under one load, after a warm-up on the same connections.
func (p plan) measure(ctx context.Context, s *side, w workload, run func(*clients, time.Duration) outcome) (measured, error) {
	c, err := newClients(ctx, s.address, p.connections, w)
	if err != nil {
		return measured{}, s.failed(err)
	}
	defer c.close()
	warm := run(c, p.warmUp)
	before, err := s.spent(ctx)
	if err != nil {
		return measured{}, s.failed(err)
	}
	m := measured{outcome: run(c, p.duration)}
	after, err := s.spent(ctx)
	if err != nil {
		return measured{}, s.failed(err)
	}
	answered := float64(len(m.latencies))
	if answered > 0 {
		cpu := after.cpu - before.cpu
		m.throughput = answered / m.elapsed.Seconds()
		m.cpu = microseconds(cpu) / answered
		m.busy = float64(cpu) / float64(m.elapsed)
		m.p50, m.p99 = microseconds(percentile(m.latencies, 50)), microseconds(percentile(m.latencies, 99))
		m.allocations = float64(after.allocations-before.allocations) / answered
		m.allocated = float64(after.allocated-before.allocated) / answered
	}
	m.failures += warm.failures
	if warm.failure != nil {
		m.failure = warm.failure
	}
	return m, ctx.Err()
}

// spending is what a proxy has used since it started.
type spending struct {
	cpu time.Duration
	// allocations and allocated are the number and the bytes of what was allocated on its heap.
	allocations, allocated uint64
}

// spent reads the proxy's counters, which costs it about a millisecond.
func (s *side) spent(ctx context.Context) (spending, error) {
	cpu, err := cpuTime(s.pid())
	if err != nil {
		return spending{}, err
	}
	var vars struct {
		MemStats struct{ Mallocs, TotalAlloc uint64 } `json:"memstats"`
	}
	if err := getJSON(ctx, "http://"+s.admin+"/debug/vars", &vars); err != nil {
		return spending{}, fmt.Errorf("reading memory statistics: %w", err)
	}
	return spending{cpu, vars.MemStats.Mallocs, vars.MemStats.TotalAlloc}, nil
}

func microseconds(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// result is what all rounds of one work load found out.
type result struct {
	workload
	throughput, cpu, p50, p99, busy comparison
	allocations, allocated          comparison
	requests, failures              int
	failure                         error
}

// compare measures both sides in every round, in an order that alternates.
func (p plan) compare(ctx context.Context, plain, gateway *side, w workload, run func(*clients, time.Duration) outcome, progress func(string)) (result, error) {
	cost := comparison{costly: true}
	r := result{workload: w, cpu: comparison{costly: true, turned: true}, p50: cost, p99: cost, allocations: cost, allocated: cost}
	for round := range p.rounds {
		order := []*side{plain, gateway}
		if round%2 == 1 {
			order = []*side{gateway, plain}
		}
		found := make(map[*side]measured)
		for _, s := range order {
			m, err := p.measure(ctx, s, w, run)
			if err != nil {
				return r, err
			}
			found[s] = m
			r.requests += len(m.latencies)
			r.failures += m.failures
			if r.failure == nil && m.failure != nil {
				r.failure = fmt.Errorf("%s, %s: %w", w.name, s.name, m.failure)
			}
		}
		a, b := found[plain], found[gateway]
		r.throughput.add(a.throughput, b.throughput)
		r.cpu.add(a.cpu, b.cpu)
		r.p50.add(a.p50, b.p50)
		r.p99.add(a.p99, b.p99)
		r.busy.add(a.busy, b.busy)
		r.allocations.add(a.allocations, b.allocations)
		r.allocated.add(a.allocated, b.allocated)
		progress(fmt.Sprintf("%s, round %d: %.0f and %.0f requests/s, %.1f and %.1f µs CPU",
			w.name, round+1, a.throughput, b.throughput, a.cpu, b.cpu))
	}
	return r, nil
}
