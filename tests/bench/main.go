package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

// options are the command's flags.
type options struct {
	plan
	keys                int
	inRedis, large      int
	binary              string
	null                bool
	profiles            string
	work                string
	proxyCore, loadCore int
}

func main() {
	var o options
	flag.IntVar(&o.rounds, "rounds", 7, "rounds for each work load")
	flag.DurationVar(&o.duration, "duration", 2*time.Second, "how long each side is measured in a round")
	flag.DurationVar(&o.warmUp, "warmup", 300*time.Millisecond, "how long each side is warmed up before that")
	flag.IntVar(&o.connections, "connections", 16, "keep-alive connections")
	flag.IntVar(&o.rate, "rate", 1000, "requests each second in the open loop")
	flag.IntVar(&o.keys, "keys", 10000, "API keys in the directory, all of which are used once")
	flag.IntVar(&o.inRedis, "keys-in-redis", 0, "in place of all else, put so many API keys into Redis, and see what they cost there")
	flag.IntVar(&o.large, "large", 0, "in place of all else, hold a gateway with so many API keys, a tenth as many people and projects, to one with 10,000 keys")
	flag.StringVar(&o.binary, "binary", "", "the wandb-gateway to measure, in place of building one")
	flag.BoolVar(&o.null, "null", false, "measure plain Caddy against itself: the noise of this machine")
	flag.StringVar(&o.profiles, "profiles", "", "folder for CPU profiles of the gateway under each work load, taken after measuring")
	flag.StringVar(&o.work, "work", "", "only the comparisons in whose name or columns this stands")
	flag.IntVar(&o.proxyCore, "proxy-core", 1, "the core of the proxies")
	flag.IntVar(&o.loadCore, "load-core", 0, "the core of the load and the upstream")
	upstream := flag.String(upstreamFlag, "", "serve as the upstream at this address (the command starts itself so)")
	flag.Parse()

	if *upstream != "" {
		exit(serveUpstream(*upstream))
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	exit(run(ctx, o, os.Stdout, os.Stderr))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// run prints the report to out and what it does meanwhile to progress.
func run(ctx context.Context, o options, out, progress io.Writer) error {
	folder, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	if o.inRedis != 0 {
		return measureKeys(ctx, o, folder, out, progress)
	}
	if o.large != 0 {
		return measureLarge(ctx, o, folder, out, progress)
	}
	if o.rounds < 1 || o.connections < 1 || o.rate < 1 || o.keys < 2*keysEach*teamSize {
		return fmt.Errorf("rounds, connections and rate are at least 1, keys at least %d, so that there are two teams", 2*keysEach*teamSize)
	}
	if err := o.findBinary(ctx, folder, progress); err != nil {
		return err
	}
	b := bench{options: o, population: population{keys: o.keys}, folder: folder, progress: progress}
	defer b.stop()
	if err := b.start(ctx); err != nil {
		return err
	}
	if err := b.measureAll(ctx); err != nil {
		return err
	}
	b.print(out)
	if err := b.profile(ctx); err != nil {
		return err
	}
	return b.failure()
}

// findBinary builds the gateway, unless one is given.
func (o *options) findBinary(ctx context.Context, folder string, progress io.Writer) (err error) {
	if o.binary == "" {
		fmt.Fprintln(progress, "building the gateway")
		if o.binary, err = buildGateway(ctx, folder, progress); err != nil {
			return err
		}
	}
	o.binary, err = filepath.Abs(o.binary)
	return err
}

// bench is one run of the command.
type bench struct {
	options
	population population
	folder     string
	progress   io.Writer

	processes      []*process
	upstream       string
	issuer         *issuer
	provider       *provider
	plain, gateway *side
	workloads      []workload
	credentials    []credentials // none with -null
	exchanges      exchanges
	flooded        floods
	backends       []*side // those that are compared
	record         *record // of the one that asks a W&B server

	results []result
	moments []memories
}

// start starts everything and makes sure that it does what it should.
func (b *bench) start(ctx context.Context) error {
	if err := b.startUpstream(ctx); err != nil {
		return err
	}
	var err error
	if b.issuer, err = startIssuer(); err != nil {
		return err
	}
	if b.provider, err = startProvider(b.population.callers(callersEach)); err != nil {
		return err
	}
	if b.plain, err = b.keep(startPlain(ctx, "plain", b.binary, filepath.Join(b.folder, "plain"), b.upstream, b.proxyCore)); err != nil {
		return err
	}
	if b.null {
		b.gateway, err = b.keep(startPlain(ctx, "plain again", b.binary, filepath.Join(b.folder, "again"), b.upstream, b.proxyCore))
	} else {
		began := time.Now()
		b.gateway, err = b.startGateway(ctx, "gateway", embedded, local)
		if err == nil {
			err = b.gateway.fill(ctx, b.binary, b.folder, b.population)
		}
		fmt.Fprintf(b.progress, "the gateway started and imported %d keys in %s\n", b.keys, time.Since(began).Round(time.Millisecond))
	}
	if err != nil {
		return err
	}
	if !b.null {
		if err := b.prepareFederation(ctx); err != nil {
			return err
		}
		if err := b.prepareBackends(ctx); err != nil {
			return err
		}
	}
	// From here on this process is the load, on one core with the upstream.
	if err := pinSelf(b.loadCore); err != nil {
		return err
	}
	runtime.GOMAXPROCS(1)
	b.workloads = workloads(b.population)
	for i := range b.workloads {
		if err := b.workloads[i].learn(ctx, b.upstream, b.plain, b.gateway); err != nil {
			return err
		}
	}
	if b.null {
		return nil
	}
	return b.guarded(ctx, b.gateway)
}

func (b *bench) startUpstream(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if b.upstream, err = freeAddress(); err != nil {
		return err
	}
	p, err := start(ctx, "upstream", filepath.Join(b.folder, "upstream"), b.loadCore, self, "-"+upstreamFlag, b.upstream)
	if err != nil {
		return err
	}
	b.processes = append(b.processes, p)
	return p.listening(ctx, b.upstream)
}

// keep remembers to stop a side, also one that failed half-way.
func (b *bench) keep(s *side, err error) (*side, error) {
	if s != nil && s.process != nil {
		b.processes = append(b.processes, s.process)
	}
	return s, err
}

func (b *bench) stop() {
	for _, p := range b.processes {
		p.stop()
	}
	if b.issuer != nil {
		b.issuer.server.Close()
	}
	if b.provider != nil {
		b.provider.server.Close()
	}
	if b.record != nil {
		b.record.server.Close()
	}
}

// measureAll runs every work load, and looks at memory between.
func (b *bench) measureAll(ctx context.Context) error {
	if err := b.weigh("after start", ""); err != nil {
		return err
	}
	if err := touch(ctx, b.population, b.plain, b.gateway); err != nil {
		return err
	}
	if err := b.weigh(fmt.Sprintf("after %d keys", b.keys), ""); err != nil {
		return err
	}
	for _, w := range b.workloads {
		if err := b.add(ctx, b.sides(w, (*clients).closedLoop)); err != nil {
			return err
		}
	}
	open := b.sides(b.workloads[0], openLoop(b.rate))
	open.name, open.open, open.p50Target = fmt.Sprintf("%s at %d requests/s", open.name, b.rate), true, 1.05
	if err := b.add(ctx, open); err != nil {
		return err
	}
	if err := touch(ctx, b.population, b.plain, b.gateway); err != nil {
		return err
	}
	if err := b.weigh(fmt.Sprintf("after all loads, %d keys in use", b.keys), "≤ +15"); err != nil {
		return err
	}
	if !b.null {
		if err := b.measureFederation(ctx); err != nil {
			return err
		}
		if err := b.measureBackends(ctx); err != nil {
			return err
		}
	}
	if len(b.results) == 0 {
		return fmt.Errorf("no comparison has %q in its name or columns", b.work)
	}
	return nil
}

// measureFederation compares kinds of credentials on the gateway alone.
func (b *bench) measureFederation(ctx context.Context) error {
	pairs, err := b.credentialPairs(ctx)
	if err != nil {
		return err
	}
	for _, p := range append(pairs, b.exchangePair()) {
		if err := b.add(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// add measures a pair, if it is wanted, and keeps the result.
func (b *bench) add(ctx context.Context, p pair) error {
	if !p.has(b.work) {
		return nil
	}
	r, err := b.compare(ctx, p, func(line string) { fmt.Fprintln(b.progress, line) })
	b.results = append(b.results, r)
	return err
}

// weigh looks at both sides' memory.
func (b *bench) weigh(when, target string) error {
	plain, err := memoryOf(b.plain.pid())
	if err != nil {
		return b.plain.failed(err)
	}
	gateway, err := memoryOf(b.gateway.pid())
	if err != nil {
		return b.gateway.failed(err)
	}
	b.moments = append(b.moments, memories{when, plain, gateway, target})
	return nil
}

// print writes the report.
func (b *bench) print(out io.Writer) {
	printTables(out, b.results)
	printMemory(out, b.plain.name, b.gateway.name, b.moments)
	fmt.Fprintf(out, "\nMedians of %d rounds of %s on %d connections; %d requests, %d of them failed.\n",
		b.rounds, b.duration, b.connections, b.requests(), b.failures())
	if b.flooded.sent > 0 {
		fmt.Fprintf(out, "Bogus tokens were answered at %.0f a second.\n", b.flooded.rate())
	}
	printBusy(out, b.results)
	printMachine(out)
}

func (b *bench) requests() (n int) {
	for _, r := range b.results {
		n += r.requests + r.failures
	}
	return n
}

func (b *bench) failures() (n int) {
	for _, r := range b.results {
		n += r.failures
	}
	return n
}

// failure is an error when any request failed: numbers with errors among them are worth nothing.
func (b *bench) failure() error {
	if b.failures() == 0 {
		return nil
	}
	err := fmt.Errorf("%d requests failed; the numbers do not count", b.failures())
	for _, r := range b.results {
		err = errors.Join(err, r.failure)
	}
	return err
}
