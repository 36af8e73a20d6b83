package redis

import (
	"math"
	"strconv"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
)

// TestCommittedByOurClock: the server's clock may be hours from ours, and be set while we watch.
func TestCommittedByOurClock(t *testing.T) {
	for name, apart := range map[string]time.Duration{"behind": -3 * time.Hour, "ahead": 3 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			server := miniredis.RunT(t)
			server.SetTime(time.Now().Add(apart))
			a, b := open(t, Config{URL: "redis://" + server.Addr()}), open(t, Config{URL: "redis://" + server.Addr()})
			changes := watchSpace(t, b)
			for range 3 {
				put(t, a, "acme/a")
				if at := next(t, changes, 5*time.Second).Committed; time.Since(at).Abs() > time.Minute {
					t.Errorf("a commit of just now was made at %s", at)
				}
			}
			server.SetTime(time.Now().Add(-apart))
			// A look at the revision learns of it, and what is committed after that has the right time.
			await(t, "the clock to be known", func() bool {
				put(t, a, "acme/a")
				made := next(t, changes, 5*time.Second).Committed
				return time.Since(made).Abs() < time.Minute
			})
			// So has what no message told of.
			quietly(t, a, "acme/b")
			for change := next(t, changes, 5*time.Second); ; change = next(t, changes, 5*time.Second) {
				if change.Gap {
					if off := time.Since(change.Committed).Abs(); off > time.Minute {
						t.Errorf("a commit of just now was made at %s", change.Committed)
					}
					break
				}
			}
		})
	}
}

func await(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for late := time.Now().Add(15 * time.Second); !condition(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(late) {
			t.Fatalf("waited too long for %s", what)
		}
	}
}

// TestOlderRelease: gateways that know nothing of times share the server: what they commit is told without
// a time, and what we add is nothing to them.
func TestOlderRelease(t *testing.T) {
	server, a, b := pair(t)
	changes := watchSpace(t, b)
	put(t, a, "acme/a")
	last := next(t, changes, 5*time.Second)
	if last.Gap || last.Committed.IsZero() {
		t.Fatalf("told is %+v", last)
	}
	n := b.names
	raw, err := server.Get(n.head("acme"))
	if err != nil {
		t.Fatal(err)
	}
	h, err := decodeHead(raw)
	if err != nil {
		t.Fatal(err)
	}
	server.Set(n.head("acme"), "2 older")
	server.Publish(n.changes("acme"), "2 "+h.id+" older k\x01x")
	if change := next(t, changes, 5*time.Second); change.Gap || change.Revision != 2 || !change.Committed.IsZero() {
		t.Errorf("told is %+v", change)
	}
	put(t, a, "acme/b")
	if change := next(t, changes, 5*time.Second); change.Gap || change.Revision != 3 || change.Committed.IsZero() {
		t.Errorf("told is %+v, want what continues the chain", change)
	}
}

func TestClock(t *testing.T) {
	began := time.Now()
	at := func(ms int) time.Time { return began.Add(time.Duration(ms) * time.Millisecond) }
	const day = serverTime(24 * 60 * 60 * 1_000_000)
	server := func(ms int) serverTime { return day + serverTime(ms)*1000 }
	type look struct{ asked, answered, told int }
	for name, test := range map[string]struct {
		looks []look
		of    int // a time of the server's
		want  int // by our clock, ms
	}{
		"the middle":                {[]look{{0, 10, 100}}, 100, 5},
		"before it":                 {[]look{{0, 10, 100}}, 40, -55},
		"a surer look":              {[]look{{0, 10, 100}, {20, 22, 116}}, 116, 21},
		"a slow look is passed by":  {[]look{{0, 2, 100}, {100, 150, 240}}, 100, 1},
		"the server's clock is set": {[]look{{0, 2, 100}, {100, 150, 5000}}, 5000, 125},
		"and set back":              {[]look{{0, 2, 100}, {100, 150, -5000}}, -5000, 125},
		"old knowledge wears out":   {[]look{{0, 2, 100}, {60_000, 60_050, 60_130}}, 60_130, 60_025},
	} {
		t.Run(name, func(t *testing.T) {
			var c clock
			for _, l := range test.looks {
				c.learn(at(l.asked), at(l.answered), server(l.told))
			}
			c.learn(at(0), at(0), 0) // the server did not tell
			if got := c.local(server(test.of)); !got.Equal(at(test.want)) {
				t.Errorf("%s, want %s", got.Sub(began), at(test.want).Sub(began))
			}
		})
	}
	var none clock
	if at := none.local(day); !at.IsZero() {
		t.Errorf("a clock that knows nothing says %s", at)
	}
}

// FuzzClock: whatever stands in Redis, times are read and translated without a panic.
func FuzzClock(f *testing.F) {
	for _, s := range []string{"", "0", "-1", "1700000000000000", "9007199254740992", "9007199254740993", "99999999999999999999", "1e3", " 1", "1@2"} {
		f.Add(s, "1700000000000000")
		f.Add("1700000000000000", s)
	}
	f.Fuzz(func(t *testing.T, now, commit string) {
		told, made := parseServerTime(now), head{1, "id@" + commit}.made()
		if told < 0 || told > maxServerTime || made < 0 || made > maxServerTime {
			t.Fatalf("%q is %d, %q is %d", now, told, commit, made)
		}
		if n, err := strconv.ParseInt(now, 10, 64); told != 0 && (err != nil || n != int64(told)) {
			t.Fatalf("%q is %d", now, told)
		}
		var c clock
		began := time.Now()
		c.learn(began, began.Add(time.Millisecond), told)
		c.learn(began.Add(time.Second), began.Add(time.Second+math.MaxInt32), made)
		if at := c.local(made); made == 0 && !at.IsZero() {
			t.Fatalf("no time is %s", at)
		}
	})
}
