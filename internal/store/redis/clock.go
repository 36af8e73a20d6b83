package redis

import (
	"strconv"
	"sync"
	"time"
)

// serverTime is a time by the server's clock, in microseconds since 1970; 0 stands for none.
type serverTime int64

// maxServerTime is in the year 2255, and far from where arithmetic with it would overflow.
const maxServerTime = 1 << 53

// parseServerTime reads a time as the scripts write it; 0 for what is none, as somebody else's id.
func parseServerTime(s string) serverTime {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || n > maxServerTime {
		return 0
	}
	return serverTime(n)
}

func (t serverTime) sub(other serverTime) time.Duration {
	return time.Duration(t-other) * time.Microsecond
}

// drift is how much two clocks may go apart in a second: ten times what they do.
const drift = time.Millisecond

// clock translates times of the server, where every commit gets its time, into this process's own: the
// clocks of machines differ by more than a commit takes to become known. The zero clock knows nothing.
type clock struct {
	mu sync.Mutex
	// server was its time at some moment between ours and as much later as unsure says.
	server serverTime
	ours   time.Time
	unsure time.Duration
}

// learn takes into account that the server told its time at some moment between two of ours. What is known
// already stays as long as it is the surer.
func (c *clock) learn(asked, answered time.Time, told serverTime) {
	if told == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.server != 0 {
		apart := time.Duration(answered.Sub(c.ours).Seconds() * float64(drift))
		earliest := c.ours.Add(told.sub(c.server)) // when it was that time by what we know
		latest := earliest.Add(c.unsure)
		agree := !latest.Add(apart).Before(asked) && !earliest.Add(-apart).After(answered)
		if agree && c.unsure+2*apart < answered.Sub(asked) {
			return // else the clock was set, or it is another server's
		}
	}
	c.server, c.ours, c.unsure = told, asked, answered.Sub(asked)
}

// local returns when it was a time of the server's, by our clock; the middle of what it may be. It is
// zero if that is not known.
func (c *clock) local(t serverTime) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t == 0 || c.server == 0 {
		return time.Time{}
	}
	return c.ours.Add(c.unsure/2 + t.sub(c.server))
}
