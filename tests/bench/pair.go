package main

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// pair is what is compared in each round: the left contender is the measure, the right one is held
// to it.
type pair struct {
	name        string
	left, right contender
	// target is what throughput and CPU of the right one may fall to; 0 for nothing in particular.
	target float64
	// connections are what each side is measured on; 0 for the plan's.
	connections int
	// open says that the load is open, so that latency is what counts, and its targets are what it may
	// rise to.
	open                 bool
	p50Target, p99Target float64
}

// has reports whether a text stands in the name of the pair or in those of its contenders.
func (p *pair) has(text string) bool {
	return strings.Contains(fmt.Sprintf("%s: %s, %s", p.name, p.left.name, p.right.name), text)
}

// contender is one kind of request to one side.
type contender struct {
	name string // the heading of its column
	side *side
	load func(round int) workload
	run  loop
	once bool // run sends nothing twice, and ends when all is sent
	// beside starts what runs beside the measurement for that long, and returns the wait for its end; nil
	// for nothing.
	beside func(context.Context, time.Duration) (func() outcome, error)
}

// loop sends requests for some time.
type loop func(*clients, time.Duration) outcome

// openLoop is clients.openLoop at a rate.
func openLoop(rate int) loop {
	return func(c *clients, d time.Duration) outcome { return c.openLoop(d, rate) }
}

// sending is a contender whose requests are the same in every round.
func (s *side) sending(name string, w workload, run loop) contender {
	return contender{name: name, side: s, load: func(int) workload { return w }, run: run}
}

// sides compares the two proxies under one work load.
func (b *bench) sides(w workload, run loop) pair {
	return pair{name: w.name, target: w.target,
		left: b.plain.sending(b.plain.name, w, run), right: b.gateway.sending(b.gateway.name, w, run)}
}
