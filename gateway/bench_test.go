package gateway

import (
	"encoding/base64"
	"maps"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/wandb-gateway/wandb-gateway/internal/wandb"
)

// BenchmarkServeHTTP is what the gateway adds to the request of a file, beside its Directory. "request
// alone" is the copy of the request that each round needs, to be taken off.
func BenchmarkServeHTTP(b *testing.B) {
	w := newWorld()
	reader, err := wandb.NewReader(wandb.ReaderConfig{})
	if err != nil {
		b.Fatal(err)
	}
	g, err := New(Config{Directory: w, Reader: reader, Tickets: NewTickets([32]byte{1})})
	if err != nil {
		b.Fatal(err)
	}
	template := httptest.NewRequest("GET", "/files/vision/team/run1/config.yaml", nil)
	header := http.Header{
		"User-Agent": {"wandb-core"}, "Accept-Encoding": {"gzip"},
		"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte("api:alice-key"))},
	}
	request := func() *http.Request {
		r := *template
		r.Header = maps.Clone(header)
		return &r
	}
	b.Run("request alone", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			request()
		}
	})
	b.Run("request", func(b *testing.B) {
		passed := 0
		next := nextFunc(func(http.ResponseWriter, *http.Request) error { passed++; return nil })
		answer := httptest.NewRecorder()
		b.ReportAllocs()
		for b.Loop() {
			if err := g.ServeHTTP(answer, request(), next); err != nil {
				b.Fatal(err)
			}
		}
		if passed == 0 || answer.Code != http.StatusOK {
			b.Fatalf("answered %d %s", answer.Code, answer.Body)
		}
	})
}

type nextFunc func(http.ResponseWriter, *http.Request) error

func (f nextFunc) ServeHTTP(w http.ResponseWriter, r *http.Request) error { return f(w, r) }
