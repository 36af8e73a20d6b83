package failure

import (
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

func TestLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rate, err := ParseRate("3/m")
		if err != nil {
			t.Fatal(err)
		}
		l := NewLimit[string](rate)
		const guesser, other = "guesser", "other"
		for i := range 3 {
			if l.Failed(guesser) {
				t.Fatalf("failure %d is over the limit", i+1)
			}
		}
		if !l.Failed(guesser) {
			t.Error("failure 4 is not over the limit")
		}
		if l.Failed(other) {
			t.Error("another key is limited too")
		}
		time.Sleep(20 * time.Second) // the clock of synctest
		if l.Failed(guesser) {
			t.Error("a third of a minute later one more failure is allowed")
		}
		if !l.Failed(guesser) {
			t.Error("but only one")
		}
		if n := l.Over(); n != 2 {
			t.Errorf("%d failures were over the limit, want 2", n)
		}
		if n := (*Limit[string])(nil).Over(); n != 0 {
			t.Errorf("without a limit %d were over it", n)
		}
	})
}

func TestAnIPv6NetworkIsOneClient(t *testing.T) {
	l := NewLimit[netip.Prefix](Rate{2, time.Hour})
	failed := func(addr string) bool { return l.Failed(Client(netip.MustParseAddr(addr))) }
	for i := range 3 {
		over := failed(fmt.Sprintf("2001:db8::%x", i+1))
		if over != (i == 2) {
			t.Errorf("failure %d: over %t", i+1, over)
		}
	}
	if failed("2001:db8:0:1::1") {
		t.Error("the next network is limited too")
	}
	failed("192.0.2.1")
	failed("::ffff:192.0.2.1")
	if !failed("192.0.2.1") {
		t.Error("an IPv4 address counts apart from its mapped form")
	}
}

func TestLimitForgetsTheOldest(t *testing.T) {
	l := NewLimit[int](Rate{1, time.Hour})
	for i := range maxKeys + 10 {
		l.Failed(i)
	}
	if len(l.entries) != maxKeys || l.recent.Len() != maxKeys {
		t.Errorf("remembers %d keys, want %d", len(l.entries), maxKeys)
	}
	if l.Failed(0) {
		t.Error("the oldest key is still remembered")
	}
}

func TestParseRate(t *testing.T) {
	for _, s := range []string{"300/m", "5/s", "1/h"} {
		if r, err := ParseRate(s); err != nil || NewLimit[int](r) == nil {
			t.Errorf("%q: %v", s, err)
		}
	}
	if r, err := ParseRate("off"); err != nil || NewLimit[int](r).Failed(1) {
		t.Errorf("off: %v, %v", r, err)
	}
	for _, s := range []string{"", "300", "0/m", "-1/m", "300/d", "m", "1e3/m", "300/m/m", "99999999999999999999/s"} {
		if _, err := ParseRate(s); err == nil {
			t.Errorf("%q is accepted", s)
		}
	}
}

func TestTakeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimit[string](Rate{2, time.Hour})
		for range 10 { // attempts that turn out to be none
			if l.Failed("a") {
				t.Fatal("over the limit")
			}
			l.TakeBack("a")
		}
		for range 5 {
			l.TakeBack("a") // more than was counted
		}
		l.Failed("a")
		l.Failed("a")
		if !l.Failed("a") {
			t.Error("taking back made the limit wider")
		}
		var none *Limit[string]
		none.TakeBack("a")
	})
}
