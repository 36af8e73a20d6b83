package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// connection is one keep-alive connection of a client that costs much less than what it measures: it
// sends bytes that are ready, and reads of the answer only what tells whether it is the right one.
type connection struct {
	net.Conn
	in *bufio.Reader
}

func dial(ctx context.Context, address string) (*connection, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return &connection{Conn: c, in: bufio.NewReaderSize(c, 16<<10)}, nil
}

// response is what is looked at of an answer.
type response struct {
	status, length int
}

// unexpected is the error for a complete answer that is not the one expected.
type unexpected struct {
	got  response
	want string
}

func (u unexpected) Error() string {
	return fmt.Sprintf("status %d with %d bytes, expected %s", u.got.status, u.got.length, u.want)
}

// exchange sends a request and reads the answer, whose body goes to the writer.
func (c *connection) exchange(request []byte, body io.Writer) (response, error) {
	if _, err := c.Write(request); err != nil {
		return response{}, err
	}
	r, err := readHead(c.in)
	if err != nil {
		return r, err
	}
	if body == nil {
		_, err = c.in.Discard(r.length)
	} else {
		_, err = io.CopyN(body, c.in, int64(r.length))
	}
	return r, err
}

var contentLength = []byte("Content-Length: ")

// readHead reads an answer up to its body. Only answers with Content-Length are understood, as it
// stands in Go's answers: nothing that is measured here has another form.
func readHead(in *bufio.Reader) (response, error) {
	r := response{length: -1}
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return r, fmt.Errorf("reading the answer's head: %w", err)
		}
		line = bytes.TrimRight(line, "\r\n")
		switch {
		case r.status == 0:
			if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.1 ")) {
				return r, fmt.Errorf("%q is no HTTP/1.1 answer", line)
			}
			if r.status, err = strconv.Atoi(string(line[9:12])); err != nil {
				return r, err
			}
		case len(line) == 0 && r.length < 0:
			return r, fmt.Errorf("an answer with status %d without Content-Length", r.status)
		case len(line) == 0:
			return r, nil
		case bytes.HasPrefix(line, contentLength):
			if r.length, err = strconv.Atoi(string(line[len(contentLength):])); err != nil {
				return r, err
			}
		}
	}
}

// clients are connections to one side that send the requests of one work load.
type clients struct {
	connections []*connection
	requests    [][]byte
	right       func(response) error
	taken       atomic.Int64 // requests that once has sent
}

func newClients(ctx context.Context, address string, count int, w workload) (*clients, error) {
	c := &clients{requests: w.requests, right: w.right}
	for range count {
		conn, err := dial(ctx, address)
		if err != nil {
			c.close()
			return nil, err
		}
		c.connections = append(c.connections, conn)
	}
	return c, nil
}

func (c *clients) close() {
	for _, conn := range c.connections {
		conn.Close()
	}
}

// outcome is what one run of clients saw.
type outcome struct {
	elapsed   time.Duration
	latencies []time.Duration // of answered requests, sorted
	failures  int
	failure   error // the first one
}

// patience is how much longer than planned a run may take before its connections fail.
const patience = 10 * time.Second

// closedLoop keeps every connection busy with one request at a time.
func (c *clients) closedLoop(d time.Duration) outcome {
	return c.run(d, func(_ int, send func(time.Time) time.Time) {
		now := time.Now()
		for end := now.Add(d); now.Before(end); {
			now = send(now)
		}
	})
}

// openLoop sends rate requests each second, evenly over time and connections, whether or not earlier
// ones have been answered, as far as there are connections.
func (c *clients) openLoop(d time.Duration, rate int) outcome {
	n := len(c.connections)
	interval := time.Second * time.Duration(n) / time.Duration(rate)
	start := time.Now()
	return c.run(d, func(worker int, send func(time.Time) time.Time) {
		due := start.Add(interval * time.Duration(worker) / time.Duration(n))
		free := time.Now()
		for end := start.Add(d); due.Before(end); due = due.Add(interval) {
			from := due // the connection was still busy when the request was due
			if free.Before(due) {
				time.Sleep(time.Until(due))
				from = time.Now() // a timer that fires late is the client's fault
			}
			free = send(from)
		}
	})
}

// once keeps every connection busy with one request at a time, and sends none of them twice, over all
// calls: it ends early when they are used up.
func (c *clients) once(d time.Duration) outcome {
	return c.each(d, func(_ int, send func([]byte, time.Time) time.Time) {
		now := time.Now()
		for end := now.Add(d); now.Before(end); {
			next := int(c.taken.Add(1)) - 1
			if next >= len(c.requests) {
				return
			}
			now = send(c.requests[next], now)
		}
	})
}

// run gives every connection a worker, which sends by calling send with the time from which the
// request counts and gets the time of the answer.
func (c *clients) run(d time.Duration, work func(worker int, send func(time.Time) time.Time)) outcome {
	return c.each(d, func(worker int, send func([]byte, time.Time) time.Time) {
		next := worker * len(c.requests) / len(c.connections)
		work(worker, func(from time.Time) time.Time {
			request := c.requests[next%len(c.requests)]
			next++
			return send(request, from)
		})
	})
}

// each is run with workers that choose their requests.
func (c *clients) each(d time.Duration, work func(worker int, send func([]byte, time.Time) time.Time)) outcome {
	outcomes := make([]outcome, len(c.connections))
	start := time.Now()
	var wg sync.WaitGroup
	for i, conn := range c.connections {
		conn.SetDeadline(start.Add(d + patience))
		wg.Go(func() {
			o := &outcomes[i]
			work(i, func(request []byte, from time.Time) time.Time {
				err := c.send(conn, request)
				now := time.Now()
				o.count(now.Sub(from), err)
				if err != nil && !errors.As(err, new(unexpected)) {
					return start.Add(d + patience) // the connection is of no more use: end
				}
				return now
			})
		})
	}
	wg.Wait()
	total := outcome{elapsed: time.Since(start)}
	for _, o := range outcomes {
		total.latencies = append(total.latencies, o.latencies...)
		total.failures += o.failures
		if total.failure == nil {
			total.failure = o.failure
		}
	}
	slices.Sort(total.latencies)
	return total
}

func (c *clients) send(conn *connection, request []byte) error {
	got, err := conn.exchange(request, nil)
	if err != nil {
		return err
	}
	return c.right(got)
}

func (o *outcome) count(latency time.Duration, err error) {
	if err == nil {
		o.latencies = append(o.latencies, latency)
		return
	}
	o.failures++
	if o.failure == nil {
		o.failure = err
	}
}
