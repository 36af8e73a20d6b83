package facts_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/wandb-gateway/wandb-gateway/authz"
	"github.com/wandb-gateway/wandb-gateway/gateway"
	"github.com/wandb-gateway/wandb-gateway/internal/directory"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/wandb"
)

// records are the two sources of facts, with mia of team vision and its project p in both.
func records(b *testing.B) map[string]gateway.Directory {
	b.Helper()
	d, local := localFacts(b)
	_, err := d.Import(context.Background(), fmt.Appendf(nil, `{"organization": "acme",
		"users": [{"username": "mia", "email": "mia@acme.test", "role": "member", "models_seat": "full", "weave_seat": "full", "active": true}],
		"teams": [{"name": "vision", "members": [{"user": "mia"}]}],
		"projects": [{"entity": "vision", "name": "p", "visibility": "team", "owner": "mia"}],
		"api_keys": [{"owner": "mia", "name": "laptop", "key": %q}]}`, key("mia")), directory.ImportOptions{})
	if err != nil {
		b.Fatal(err)
	}
	return map[string]gateway.Directory{"local": local, "wandb": wandbFacts(b, server(b))}
}

// BenchmarkDecide is what a request pays whose facts are cached, with either record: who is calling, what do
// they touch, may they (design section 9: under 2 µs).
func BenchmarkDecide(b *testing.B) {
	for name, record := range records(b) {
		b.Run(name, func(b *testing.B) {
			ctx := b.Context()
			c := iam.Credential{Kind: iam.CredentialAPIKey, Secret: iam.NewSecret(key("mia"))}
			b.ReportAllocs()
			for b.Loop() {
				p, err := record.Identify(ctx, c)
				if err != nil {
					b.Fatal(err)
				}
				f, err := record.Facts(ctx, gateway.Caller{Principal: p, Credential: c}, "vision", "p")
				if err != nil {
					b.Fatal(err)
				}
				if !authz.Decide(authz.Request{Permission: authz.RunWrite}, f).Allowed() {
					b.Fatal("refused")
				}
			}
		})
	}
}

// BenchmarkRequest is a whole request through the gateway, without network and proxy.
func BenchmarkRequest(b *testing.B) {
	for name, record := range records(b) {
		b.Run(name, func(b *testing.B) {
			reader, err := wandb.NewReader(wandb.ReaderConfig{})
			if err != nil {
				b.Fatal(err)
			}
			g, err := gateway.New(gateway.Config{Directory: record, Reader: reader, Tickets: gateway.NewTickets([32]byte{7}), OwnIdentity: true})
			if err != nil {
				b.Fatal(err)
			}
			r := httptest.NewRequest("POST", "/files/vision/p/r1/file_stream", http.NoBody)
			r.SetBasicAuth("api", key("mia"))
			authorization := r.Header["Authorization"]
			w, passed := httptest.NewRecorder(), new(counter)
			b.ReportAllocs()
			for b.Loop() {
				clear(r.Header)
				r.Header["Authorization"] = authorization
				if err := g.ServeHTTP(w, r, passed); err != nil {
					b.Fatal(err)
				}
			}
			if passed.n != b.N {
				b.Fatalf("%d of %d passed: %d %s", passed.n, b.N, w.Code, w.Body)
			}
		})
	}
}

// counter is the handler behind the gateway.
type counter struct{ n int }

// ServeHTTP implements gateway.Handler.
func (c *counter) ServeHTTP(http.ResponseWriter, *http.Request) error {
	c.n++
	return nil
}
