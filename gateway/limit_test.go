package gateway

import (
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

func TestFailureLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, err := ParseFailureLimit("3/m")
		if err != nil {
			t.Fatal(err)
		}
		guesser, other := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
		for i := range 3 {
			if l.Failed(guesser) {
				t.Fatalf("failure %d is over the limit", i+1)
			}
		}
		if !l.Failed(guesser) {
			t.Error("failure 4 is not over the limit")
		}
		if l.Failed(other) {
			t.Error("another address is limited too")
		}
		time.Sleep(20 * time.Second) // the clock of synctest
		if l.Failed(guesser) {
			t.Error("a third of a minute later one more failure is allowed")
		}
		if !l.Failed(guesser) {
			t.Error("but only one")
		}
	})
}

func TestFailureLimitCountsAnIPv6NetworkAsOneClient(t *testing.T) {
	l := NewFailureLimit(2, time.Hour)
	for i := range 3 {
		over := l.Failed(netip.MustParseAddr(fmt.Sprintf("2001:db8::%x", i+1)))
		if over != (i == 2) {
			t.Errorf("failure %d: over %t", i+1, over)
		}
	}
	if l.Failed(netip.MustParseAddr("2001:db8:0:1::1")) {
		t.Error("the next network is limited too")
	}
	l.Failed(netip.MustParseAddr("192.0.2.1"))
	l.Failed(netip.MustParseAddr("::ffff:192.0.2.1"))
	if !l.Failed(netip.MustParseAddr("192.0.2.1")) {
		t.Error("an IPv4 address counts apart from its mapped form")
	}
}

func TestFailureLimitForgetsTheOldest(t *testing.T) {
	l := NewFailureLimit(1, time.Hour)
	first := netip.MustParseAddr("10.0.0.0")
	addr := first
	for range maxAddresses + 10 {
		l.Failed(addr)
		addr = addr.Next()
	}
	if len(l.entries) != maxAddresses || l.recent.Len() != maxAddresses {
		t.Errorf("remembers %d addresses, want %d", len(l.entries), maxAddresses)
	}
	if l.Failed(first) {
		t.Error("the oldest address is still remembered")
	}
}

func TestParseFailureLimit(t *testing.T) {
	for _, s := range []string{"300/m", "5/s", "1/h"} {
		if l, err := ParseFailureLimit(s); err != nil || l == nil {
			t.Errorf("%q: %v", s, err)
		}
	}
	if l, err := ParseFailureLimit("off"); err != nil || l != nil || l.Failed(netip.Addr{}) {
		t.Errorf("off: %v, %v", l, err)
	}
	for _, s := range []string{"", "300", "0/m", "-1/m", "300/d", "m", "1e3/m", "300/m/m", "99999999999999999999/s"} {
		if _, err := ParseFailureLimit(s); err == nil {
			t.Errorf("%q is accepted", s)
		}
	}
}
