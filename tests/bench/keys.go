package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/directory"
	"github.com/wandb-gateway/wandb-gateway/internal/hotcache"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/store"
	"github.com/wandb-gateway/wandb-gateway/internal/store/redis"
)

const (
	// fewKeys are in the store that the full one is held to.
	fewKeys = 1000
	// mostKeys bounds the full one; each key takes about a kilobyte of the machine's memory.
	mostKeys = 5_000_000
	// mostMemory is what a Redis server of these may use.
	mostMemory = "8gb"
	// sampled is how many look-ups are timed in a round, and a tenth of it how many new keys.
	sampled = 1000
	// strangers is how many people are looked up before everything cached is forgotten again: all whom
	// the smaller store has.
	strangers = fewKeys / keysEach
)

// keyMeasures are what a round finds out about each store.
var keyMeasures = [...]string{
	"reading its record, p50 µs", "reading its record, p99 µs",
	"finding the caller, nothing cached, p50 µs", "finding the caller, nothing cached, p99 µs",
	"making one, p50 µs",
}

// keyStore is a directory of many API keys in a Redis server of its own, as a gateway writes it.
type keyStore struct {
	population
	name    string
	process *process
	port    string
	store   *redis.Store
	cache   *hotcache.Cache
	// directory made the records.
	directory *directory.Directory
	hmacKey   [32]byte
	records   []string // names of some keys' records, in no order
	cost      keyCost
}

// keyCost is what keys cost when they came to the people who were there already.
type keyCost struct {
	keys     int
	memory   int64 // of Redis, for each key
	file     int64 // of the append-only file, for each key
	resident int64 // of Redis, for all that it holds
	time     time.Duration
}

// measureKeys fills two Redis servers with API keys, one with few and one with many, and compares them.
func measureKeys(ctx context.Context, o options, folder string, out, progress io.Writer) (err error) {
	if o.inRedis < 10*fewKeys || o.inRedis > mostKeys || o.rounds < 1 {
		return fmt.Errorf("keys-in-redis is between %d and %d, and there is at least one round", 10*fewKeys, mostKeys)
	}
	if err := pinSelf(o.loadCore); err != nil {
		return err
	}
	runtime.GOMAXPROCS(1)
	var both [2]*keyStore
	for i, n := range []int{fewKeys, o.inRedis} {
		s := &keyStore{population: population{keys: n}, name: fmt.Sprintf("%d keys", n)}
		both[i] = s
		defer func() { err = errors.Join(err, s.close()) }()
		if err := s.start(ctx, filepath.Join(folder, strconv.Itoa(n)), o.proxyCore); err != nil {
			return err
		}
		if err := s.fill(ctx, progress); err != nil {
			return err
		}
	}
	var compared [len(keyMeasures)]comparison
	for i := range compared {
		compared[i].costly = true
	}
	for round := range o.rounds {
		var found [2][len(keyMeasures)]time.Duration
		for i := range found {
			turn := (i + round) % 2
			if found[turn], err = both[turn].round(ctx, round); err != nil {
				return err
			}
		}
		for i := range compared {
			compared[i].add(microseconds(found[0][i]), microseconds(found[1][i]))
		}
		fmt.Fprintf(progress, "round %d: a record is read in %s and %s\n", round+1, found[0][0], found[1][0])
	}
	printKeyCosts(out, both[:])
	printHeader(out, both[0].name, both[1].name)
	for i, measure := range keyMeasures {
		printRows(out, []row{{work: "API key in Redis", measure: measure, format: "%.0f", values: &compared[i]}})
	}
	fmt.Fprintf(out, "\nMedians of %d rounds, in each of which %d records and %d callers are looked up and %d keys made, one after the other.\n",
		o.rounds, sampled, sampled, sampled/10)
	printMachine(out)
	return nil
}

// start runs a Redis server and opens a directory in it.
func (s *keyStore) start(ctx context.Context, home string, core int) (err error) {
	var address string
	if s.process, address, err = startRedis(ctx, home, core, "--maxmemory", mostMemory); err != nil {
		return err
	}
	if _, s.port, err = net.SplitHostPort(address); err != nil {
		return err
	}
	if s.store, err = redis.Open(redis.Config{URL: "redis://" + address}); err != nil {
		return s.process.failed(err)
	}
	rand.Read(s.hmacKey[:]) // never fails (crypto/rand)
	s.directory, s.cache, err = s.open()
	return err
}

// open returns a directory that has nothing cached.
func (s *keyStore) open() (*directory.Directory, *hotcache.Cache, error) {
	cache, err := hotcache.New(hotcache.Config{Store: s.store, Space: organization})
	if err != nil {
		return nil, nil, err
	}
	d, err := directory.New(directory.Config{Cache: cache, Organization: organization, HMACKey: s.hmacKey})
	if err != nil {
		return nil, nil, errors.Join(err, cache.Close())
	}
	return d, cache, nil
}

func (s *keyStore) close() (err error) {
	if s.cache != nil {
		err = s.cache.Close()
	}
	if s.store != nil {
		err = errors.Join(err, s.store.Close())
	}
	if s.process != nil {
		s.process.stop()
	}
	return err
}

// fill imports people, teams and projects, and then the keys, and sees what these cost.
func (s *keyStore) fill(ctx context.Context, progress io.Writer) error {
	each := func(what string, part func(first, last int) rows) error {
		return s.parts(what, progress, part, func(file []byte) error {
			_, err := s.directory.Import(ctx, file, directory.ImportOptions{})
			if err != nil {
				return s.process.failed(err)
			}
			return nil
		})
	}
	if err := each("people", s.people); err != nil {
		return err
	}
	before, err := s.uses(ctx)
	if err != nil {
		return err
	}
	began := time.Now()
	if err := each("people with their keys", s.keysOf); err != nil {
		return err
	}
	s.cost.time = time.Since(began) / time.Duration(s.keys)
	after, err := s.uses(ctx)
	if err != nil {
		return err
	}
	s.cost.keys, s.cost.resident = s.keys, after.resident
	s.cost.memory = (after.memory - before.memory) / int64(s.keys)
	s.cost.file = (after.file - before.file) / int64(s.keys)
	fmt.Fprintf(progress, "%d keys are in Redis, which uses %.0f MB for all\n", s.keys, megabytes(after.memory))
	page, err := s.store.List(ctx, organization+"/key/", "", store.MaxListed)
	if err != nil {
		return s.process.failed(err)
	}
	if len(page) != min(s.keys, store.MaxListed) {
		return fmt.Errorf("the store holds %d keys where %d are", len(page), s.keys)
	}
	for _, r := range page {
		s.records = append(s.records, r.Key)
	}
	return nil
}

// uses asks Redis what it uses.
func (s *keyStore) uses(ctx context.Context) (used keyCost, err error) {
	text, err := exec.CommandContext(ctx, "redis-cli", "-p", s.port, "INFO").Output()
	if err != nil {
		return used, s.process.failed(fmt.Errorf("redis-cli: %w", err))
	}
	return parseRedisInfo(string(text))
}

// parseRedisInfo reads what is measured from INFO.
func parseRedisInfo(text string) (used keyCost, err error) {
	into := map[string]*int64{"used_memory": &used.memory, "used_memory_rss": &used.resident, "aof_current_size": &used.file}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if field := into[name]; field != nil {
			if *field, err = strconv.ParseInt(value, 10, 64); err != nil {
				return used, fmt.Errorf("INFO: %w", err)
			}
			delete(into, name)
		}
	}
	if len(into) > 0 {
		return used, errors.New("INFO lacks used_memory, used_memory_rss or aof_current_size")
	}
	return used, nil
}

// round times reading records, finding callers of whom nothing is cached, and making keys, which are
// deleted again.
func (s *keyStore) round(ctx context.Context, round int) (found [len(keyMeasures)]time.Duration, err error) {
	var read, caller, made []time.Duration
	stopwatch := func(all *[]time.Duration, do func() error) error {
		began := time.Now()
		err := do()
		*all = append(*all, time.Since(began))
		return err
	}
	for i := range sampled {
		if err := stopwatch(&read, func() error {
			_, err := s.store.Get(ctx, s.records[(i*7919+round)%len(s.records)])
			return err
		}); err != nil {
			return found, s.process.failed(err)
		}
	}
	for i := range sampled / strangers {
		if err := s.meet(ctx, (round*sampled/strangers+i)*7919, func(do func() error) error { return stopwatch(&caller, do) }); err != nil {
			return found, s.process.failed(err)
		}
	}
	for i := range sampled / 10 {
		id, err := s.directory.FindUser(ctx, userName(i%s.users()))
		if err != nil {
			return found, s.process.failed(err)
		}
		var change directory.Change[directory.Key]
		if err := stopwatch(&made, func() error {
			_, change, err = s.directory.MintKey(ctx, id.Ref(), "bench")
			return err
		}); err != nil {
			return found, s.process.failed(err)
		}
		if _, err := s.directory.DeleteKey(ctx, id.Ref(), change.After.ID); err != nil {
			return found, s.process.failed(err)
		}
	}
	for _, all := range [][]time.Duration{read, caller, made} {
		slices.Sort(all)
	}
	return [len(keyMeasures)]time.Duration{percentile(read, 50), percentile(read, 99), percentile(caller, 50), percentile(caller, 99), percentile(made, 50)}, nil
}

// meet times finding people one after the other, of whole teams that begin somewhere, by a key of theirs,
// with nothing cached at first.
func (s *keyStore) meet(ctx context.Context, somewhere int, timed func(func() error) error) (err error) {
	cold, cache, err := s.open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cache.Close()) }()
	first := somewhere % (s.users() - strangers + 1) / teamSize * teamSize
	for user := first; user < first+strangers; user++ {
		if err := timed(func() error {
			p, err := cold.PrincipalByKey(ctx, iam.NewSecret(key(user*keysEach)))
			if err == nil && p.Username != userName(user) {
				err = fmt.Errorf("a key of %s is taken for %s's", userName(user), p.Username)
			}
			return err
		}); err != nil {
			return err
		}
	}
	return nil
}

func printKeyCosts(w io.Writer, stores []*keyStore) {
	fmt.Fprintln(w, "| API keys in Redis | bytes of its memory for each | of the append-only file | µs to import each | resident memory in all, MB |")
	fmt.Fprintln(w, "|--:|--:|--:|--:|--:|")
	for _, s := range stores {
		fmt.Fprintf(w, "| %d | %d | %d | %.0f | %.0f |\n", s.cost.keys, s.cost.memory, s.cost.file, microseconds(s.cost.time), megabytes(s.cost.resident))
	}
	fmt.Fprintln(w)
}
