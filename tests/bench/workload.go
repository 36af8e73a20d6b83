package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
)

// workload is one kind of request, from many callers.
type workload struct {
	name     string
	target   float64 // what throughput and CPU may fall to (design section 9)
	requests [][]byte
	want     response
	// varied says that answers differ in length, and their status alone is looked at.
	varied bool
	// refused says that any refusal is the right answer, in place of want.
	refused bool
}

// right says what is wrong with an answer.
func (w *workload) right(got response) error {
	switch {
	case w.refused:
		switch got.status {
		case http.StatusBadRequest, http.StatusUnauthorized, http.StatusTooManyRequests:
			return nil
		}
		return unexpected{got, "a refusal"}
	case w.varied && got.status == w.want.status:
	case got != w.want:
		return unexpected{got, fmt.Sprintf("%d with %d", w.want.status, w.want.length)}
	}
	return nil
}

// callersEach is how many callers take turns in a work load.
const callersEach = 64

// workloads are what design section 9 has budgets for.
func workloads(p population) []workload {
	callers := p.callers(callersEach)
	list := []struct {
		name   string
		target float64
		make   func(caller) []byte
	}{
		{"GET file 1 KB", 0.95, getFile},
		{"POST file_stream 8 KB", 0.95, postStream(8 << 10)},
		{"POST GraphQL 2 KB", 0.88, postUpsert(2 << 10)},
		{"POST GraphQL 8 KB", 0.88, postUpsert(8 << 10)},
	}
	var all []workload
	for _, l := range list {
		w := workload{name: l.name, target: l.target}
		for _, c := range callers {
			w.requests = append(w.requests, l.make(c))
		}
		all = append(all, w)
	}
	return all
}

// learn asks the upstream itself what the answer to a work load is, and compares the answers of all
// sides with it, byte for byte.
func (w *workload) learn(ctx context.Context, upstream string, sides ...*side) error {
	want, err := answers(ctx, upstream, w.requests)
	if err != nil {
		return fmt.Errorf("%s: upstream: %w", w.name, err)
	}
	w.want = response{http.StatusOK, len(want[0].body)}
	for _, s := range sides {
		got, err := answers(ctx, s.address, w.requests)
		if err != nil {
			return s.failed(fmt.Errorf("%s: %w", w.name, err))
		}
		for i := range got {
			if w.right(got[i].response) != nil || !bytes.Equal(got[i].body, want[i].body) {
				return s.failed(fmt.Errorf("%s: request %d was answered %d %s, expected %d %s", w.name, i,
					got[i].status, got[i].body, w.want.status, want[i].body))
			}
		}
	}
	return nil
}

// fullResponse is an answer with its body.
type fullResponse struct {
	response
	body []byte
}

// answers sends requests over one connection and collects the answers.
func answers(ctx context.Context, address string, requests [][]byte) ([]fullResponse, error) {
	conn, err := dial(ctx, address)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	var all []fullResponse
	for _, request := range requests {
		var body bytes.Buffer
		r, err := conn.exchange(request, &body)
		if err != nil {
			return nil, err
		}
		all = append(all, fullResponse{r, body.Bytes()})
	}
	return all, nil
}

// guarded makes sure that a gateway judges: a gate that stands open is not worth timing.
func (b *bench) guarded(ctx context.Context, gateway *side) error {
	p := b.population
	unknown := p.caller(0)
	unknown.credential = basic(key(p.keys))
	bogus := p.caller(0)
	bogus.credential = bearer(b.issuer.bogus(bogus.user, "guarded"))
	for _, refused := range []struct {
		what    string
		request []byte
		status  int
	}{
		{"a file with an unknown key", getFile(unknown), http.StatusUnauthorized},
		{"a run with an unknown key", postUpsert(2 << 10)(unknown), http.StatusUnauthorized},
		{"a file with a bogus assertion", getFile(bogus), http.StatusUnauthorized},
		{"the exchange of a bogus assertion", postExchange(b.issuer.bogus(bogus.user, "guarded")), http.StatusBadRequest},
		{"the file of another team", getFile(p.stranger()), http.StatusForbidden},
		{"a run of another team", postUpsert(2 << 10)(p.stranger()), http.StatusForbidden},
	} {
		got, err := answers(ctx, gateway.address, [][]byte{refused.request})
		if err != nil {
			return gateway.failed(fmt.Errorf("%s: %w", refused.what, err))
		}
		if got[0].status != refused.status {
			return gateway.failed(fmt.Errorf("%s was answered %d, expected %d", refused.what, got[0].status, refused.status))
		}
	}
	return nil
}

// touch sends one request for every key of the population to each side, so that the gateway has them
// all in its cache and plain Caddy has had the same to do.
func touch(ctx context.Context, p population, sides ...*side) error {
	w := workload{name: "every key once"}
	for i := range p.keys {
		w.requests = append(w.requests, getFile(p.caller(i)))
	}
	for _, s := range sides {
		got, err := answers(ctx, s.address, w.requests)
		if err != nil {
			return s.failed(fmt.Errorf("%s: %w", w.name, err))
		}
		for i := range got {
			if got[i].status != http.StatusOK {
				return s.failed(fmt.Errorf("%s: key %d was answered %d %s", w.name, i, got[i].status, got[i].body))
			}
		}
	}
	return nil
}
