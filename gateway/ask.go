package gateway

import (
	"bytes"
	"context"
	"io"
	"net/http"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/wandb"
)

// maxAskedBytes bounds the answer to a question of the gateway's own.
const maxAskedBytes = 1 << 20

// ask puts a question of the gateway's own to the upstream. It takes the way of the caller's
// request, through the same handlers, so that the site's upstream address, TLS and credential need
// to be written once.
func (x *exchange) ask(ctx context.Context, body []byte) ([]byte, error) {
	r := x.r.Clone(ctx)
	r.Method = http.MethodPost
	r.URL.Path, r.URL.RawPath, r.URL.RawQuery = "/graphql", "", ""
	r.RequestURI = "/graphql"
	r.Header = http.Header{
		"Content-Type": {"application/json"},
		"Accept":       {"application/json"},
		"User-Agent":   {"wandb-gateway"},
	}
	if a, ok := x.r.Header["Authorization"]; ok && (x.g.UpstreamCredential == UpstreamPassthrough || x.upstreamSeesCaller()) {
		r.Header["Authorization"] = a
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	r.TransferEncoding, r.Trailer = nil, nil

	asked := exchange{g: x.g, r: r, caller: x.caller, route: wandb.Route{Kind: wandb.RouteGraphQL}}
	asked.setIdentity()
	if err := asked.setCredential(); err != nil {
		return nil, err
	}
	if err := asked.introduce(); err != nil {
		return nil, err
	}
	answer := &askedAnswer{header: make(http.Header)}
	if err := x.next.ServeHTTP(answer, r); err != nil {
		return nil, iam.Unavailable("The W&B server behind the gateway did not answer.", err)
	}
	if answer.status == http.StatusUnauthorized && x.g.UpstreamCredential == UpstreamPerUser && !x.upstreamSeesCaller() {
		return nil, x.refusedUpstreamKey()
	}
	if !tells(answer.status) || answer.overflow {
		return nil, iam.Unavailable("The W&B server behind the gateway did not answer a question of the gateway's own.", nil)
	}
	return answer.body.Bytes(), nil
}

// tells reports whether an answer of that status says something about the question. With 400, 403, 404 and
// 422 servers say, in the answer's errors, that they do not know it or show nothing.
func tells(status int) bool {
	switch status {
	case http.StatusOK, http.StatusBadRequest, http.StatusForbidden, http.StatusNotFound, http.StatusUnprocessableEntity:
		return true
	default:
		return false
	}
}

// askedAnswer is a ResponseWriter that keeps what is written.
type askedAnswer struct {
	header   http.Header
	status   int
	body     bytes.Buffer
	overflow bool
}

// Header implements http.ResponseWriter.
func (a *askedAnswer) Header() http.Header { return a.header }

// WriteHeader implements http.ResponseWriter.
func (a *askedAnswer) WriteHeader(status int) {
	if a.status == 0 && status >= 200 {
		a.status = status
	}
}

// Write implements io.Writer.
func (a *askedAnswer) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	if a.body.Len()+len(p) > maxAskedBytes {
		a.overflow = true
		return len(p), nil
	}
	return a.body.Write(p)
}
