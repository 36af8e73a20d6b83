package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"time"
)

const (
	// smallKeys are what the large gateway is held to, with 1,000 people and as many projects.
	smallKeys = 10_000
	// mostLarge bounds the large one: up to here the numbers of people have as many digits as somebody wants.
	mostLarge = 1_000_000
	// manyCallers is how many take turns where more than the usual few do: all whom the small gateway knows.
	manyCallers = smallKeys
)

// large compares a gateway that knows few with one that knows many. In its bench the small one stands where
// plain Caddy does elsewhere.
type large struct {
	bench
	known  [2]population
	starts comparison // in milliseconds
}

// sides are both gateways, the small one first.
func (l *large) sides() [2]*side { return [2]*side{l.plain, l.gateway} }

// measureLarge fills two gateways, sees how they start, and compares what they do for callers and by SCIM.
func measureLarge(ctx context.Context, o options, folder string, out, progress io.Writer) error {
	if o.large < 10*smallKeys || o.large > mostLarge || o.rounds < 1 || o.connections < 1 {
		return fmt.Errorf("large is between %d and %d, and there is at least one round and connection", 10*smallKeys, mostLarge)
	}
	if err := o.findBinary(ctx, folder, progress); err != nil {
		return err
	}
	l := large{bench: bench{options: o, folder: folder, progress: progress}, starts: comparison{costly: true}}
	for i, keys := range []int{smallKeys, o.large} {
		l.known[i] = population{keys: keys, projects: teamSize} // as many projects as people
	}
	defer l.stop()
	if err := l.start(ctx); err != nil {
		return err
	}
	if err := l.measureAll(ctx); err != nil {
		return err
	}
	printHeader(out, l.plain.name, l.gateway.name)
	printRows(out, []row{{work: "start", measure: "ms until a caller is answered", format: "%.0f", values: &l.starts, target: "< 2000 ms"}})
	fmt.Fprintln(out)
	l.print(out)
	if err := l.profile(ctx); err != nil {
		return err
	}
	return l.failure()
}

// start fills both gateways and starts them anew.
func (l *large) start(ctx context.Context) (err error) {
	if err := l.startUpstream(ctx); err != nil {
		return err
	}
	if l.issuer, err = startIssuer(); err != nil {
		return err
	}
	if l.provider, err = startProvider(nil); err != nil {
		return err
	}
	for i, into := range []**side{&l.plain, &l.gateway} {
		if *into, err = l.startFilled(ctx, l.known[i]); err != nil {
			return err
		}
	}
	// From here on this process is the load, on one core with the upstream.
	if err := pinSelf(l.loadCore); err != nil {
		return err
	}
	runtime.GOMAXPROCS(1)
	return l.measureStarts(ctx)
}

// startFilled starts a gateway and imports a population in parts.
func (l *large) startFilled(ctx context.Context, p population) (*side, error) {
	name := fmt.Sprintf("%d people", p.users())
	s, err := l.startGateway(ctx, name, embedded, local)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	take := func(file []byte) error { return s.take(ctx, l.binary, l.folder, file) }
	err = errors.Join(
		p.parts("people", l.progress, p.people, take),
		p.parts("people with their keys", l.progress, p.keysOf, take),
	)
	fmt.Fprintf(l.progress, "%s with %d keys were imported in %s\n", name, p.keys, time.Since(began).Round(time.Second))
	return s, err
}

// measureStarts starts each gateway anew in every round.
func (l *large) measureStarts(ctx context.Context) error {
	for round := range l.rounds {
		var took [2]time.Duration
		for i := range took {
			turn := (i + round) % 2
			var err error
			if took[turn], err = l.startAgain(ctx, l.sides()[turn], l.known[turn]); err != nil {
				return err
			}
		}
		l.starts.add(microseconds(took[0])/1000, microseconds(took[1])/1000)
		fmt.Fprintf(l.progress, "start, round %d: %s and %s\n", round+1, took[0].Round(time.Millisecond), took[1].Round(time.Millisecond))
	}
	return nil
}

// startAgain says how long it takes until a gateway that was stopped answers somebody.
func (l *large) startAgain(ctx context.Context, s *side, p population) (time.Duration, error) {
	s.process.stop()
	began := time.Now()
	again, err := s.process.again(ctx)
	if err != nil {
		return 0, err
	}
	s.process = again
	l.processes = append(l.processes, again)
	if err := s.listening(ctx, s.address); err != nil {
		return 0, err
	}
	got, err := answers(ctx, s.address, [][]byte{getFile(p.caller(p.keys - 1))})
	if err == nil && got[0].status != http.StatusOK {
		err = fmt.Errorf("the first caller after the start was answered %d %s", got[0].status, got[0].body)
	}
	if err != nil {
		return 0, s.failed(err)
	}
	return time.Since(began), nil
}

func (l *large) measureAll(ctx context.Context) error {
	if err := l.weigh("after start", ""); err != nil {
		return err
	}
	if err := l.measureCallers(ctx); err != nil {
		return err
	}
	if err := l.weigh(fmt.Sprintf("after %d callers each", manyCallers), ""); err != nil {
		return err
	}
	for i, s := range l.sides() {
		if err := l.useEveryKey(ctx, s, l.known[i]); err != nil {
			return err
		}
	}
	if err := l.weigh("after every key was used", "the larger < 1000 in all"); err != nil {
		return err
	}
	if err := l.measureProvisioning(ctx); err != nil { // last, for it may end with somebody deactivated
		return err
	}
	return l.weigh("after SCIM", "")
}

// useEveryKey is touch for so many keys that their answers are not kept.
func (l *large) useEveryKey(ctx context.Context, s *side, p population) error {
	w := workload{name: "every key once", varied: true, want: response{status: http.StatusOK}}
	for i := range p.keys {
		w.requests = append(w.requests, getFile(p.caller(i)))
	}
	c, err := newClients(ctx, s.address, l.connections, w)
	if err != nil {
		return s.failed(err)
	}
	defer c.close()
	used := c.once(time.Hour) // ends when all are used
	if used.failures > 0 || len(used.latencies) != p.keys {
		return s.failed(fmt.Errorf("%s: %d of %d keys were answered: %w", w.name, len(used.latencies), p.keys, used.failure))
	}
	return ctx.Err()
}

// measureCallers compares requests of the usual few callers, who are found in caches, and of many.
func (l *large) measureCallers(ctx context.Context) error {
	for i, s := range l.sides() {
		l.population = l.known[i]
		if err := l.guarded(ctx, s); err != nil {
			return err
		}
	}
	for _, c := range []struct {
		name    string
		callers int
		make    func(caller) []byte
	}{
		{"GET file 1 KB", callersEach, getFile},
		{"GET file 1 KB", manyCallers, getFile},
		{"POST file_stream 8 KB", manyCallers / 10, postStream(8 << 10)},
		{"POST GraphQL 2 KB", manyCallers, postUpsert(2 << 10)},
	} {
		both := [2]workload{}
		for i, s := range l.sides() {
			w := &both[i]
			w.name, w.varied = fmt.Sprintf("%s, %d callers", c.name, c.callers), true // names are longer with more
			for _, who := range l.known[i].callers(c.callers) {
				w.requests = append(w.requests, c.make(who))
			}
			if err := w.learn(ctx, l.upstream, s); err != nil {
				return err
			}
		}
		if err := l.add(ctx, l.pair(both, 0.95, 0)); err != nil {
			return err
		}
	}
	return nil
}

// pair holds the large gateway to the small one, on so many connections; 0 for the plan's.
func (l *large) pair(both [2]workload, target float64, connections int) pair {
	return pair{name: both[0].name, target: target, connections: connections,
		left:  l.plain.sending(l.plain.name, both[0], (*clients).closedLoop),
		right: l.gateway.sending(l.gateway.name, both[1], (*clients).closedLoop)}
}
