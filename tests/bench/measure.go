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

// measure is one contender in one round, after a warm-up on the same connections.
func (p plan) measure(ctx context.Context, who contender, round int) (m measured, err error) {
	s := who.side
	c, err := newClients(ctx, s.address, p.connections, who.load(round))
	if err != nil {
		return measured{}, s.failed(err)
	}
	defer c.close()
	if who.beside != nil {
		ended, err := who.beside(ctx, p.warmUp+p.duration)
		if err != nil {
			return measured{}, s.failed(err)
		}
		defer func() { m.count(ended()) }()
	}
	warm := who.run(c, p.warmUp)
	before, err := s.spent(ctx)
	if err != nil {
		return measured{}, s.failed(err)
	}
	m = measured{outcome: who.run(c, p.duration)}
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
	m.count(warm)
	return m, ctx.Err()
}

// count adds the failures of what ran beside or before to those of the measurement.
func (m *measured) count(other outcome) {
	m.failures += other.failures
	if m.failure == nil {
		m.failure = other.failure
	}
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

// result is what all rounds of one pair found out.
type result struct {
	pair
	throughput, cpu, p50, p99, busy comparison
	allocations, allocated          comparison
	requests, failures              int
	failure                         error
}

// compare measures both contenders in every round, in an order that alternates.
func (p plan) compare(ctx context.Context, of pair, progress func(string)) (result, error) {
	if of.connections > 0 {
		p.connections = of.connections
	}
	cost := comparison{costly: true}
	r := result{pair: of, cpu: comparison{costly: true, turned: true}, p50: cost, p99: cost, allocations: cost, allocated: cost}
	for round := range p.rounds {
		var found [2]measured // left and right
		for i := range found {
			turn := (i + round) % 2
			who := [2]contender{of.left, of.right}[turn]
			m, err := p.measure(ctx, who, round)
			if err != nil {
				return r, err
			}
			found[turn] = m
			r.requests += len(m.latencies)
			r.failures += m.failures
			if r.failure == nil && m.failure != nil {
				r.failure = fmt.Errorf("%s, %s: %w", of.name, who.name, m.failure)
			}
		}
		a, b := found[0], found[1]
		r.throughput.add(a.throughput, b.throughput)
		r.cpu.add(a.cpu, b.cpu)
		r.p50.add(a.p50, b.p50)
		r.p99.add(a.p99, b.p99)
		r.busy.add(a.busy, b.busy)
		r.allocations.add(a.allocations, b.allocations)
		r.allocated.add(a.allocated, b.allocated)
		progress(fmt.Sprintf("%s, %s and %s, round %d: %.0f and %.0f requests/s, %.1f and %.1f µs CPU",
			of.name, of.left.name, of.right.name, round+1, a.throughput, b.throughput, a.cpu, b.cpu))
	}
	return r, nil
}
