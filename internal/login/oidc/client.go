package oidc

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

const (
	// maxDiscoveryBytes bounds a discovery document; Keycloak's has 7 KB.
	maxDiscoveryBytes = 256 << 10
	// maxTokenAnswerBytes bounds what a token endpoint answers.
	maxTokenAnswerBytes = 1 << 20
	maxHeaderBytes      = 64 << 10
	maxRedirects        = 3
)

// newClient returns the client for every question to the provider. It keeps no cookie, and follows
// redirects within one origin only, so that who answers is who was asked (threats J17).
func newClient(roots *x509.CertPool, timeout time.Duration) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			ForceAttemptHTTP2:      true,
			DisableKeepAlives:      true, // questions are rare; a connection kept would outlive the Connector
			MaxResponseHeaderBytes: maxHeaderBytes,
		},
		CheckRedirect: sameOrigin,
		Timeout:       timeout,
	}
}

func sameOrigin(next *http.Request, via []*http.Request) error {
	switch {
	case len(via) > maxRedirects:
		return fmt.Errorf("it redirects more than %d times", maxRedirects)
	case origin(next.URL) != origin(via[0].URL):
		return errors.New("it redirects to another origin")
	}
	return nil
}

func origin(u *url.URL) string { return u.Scheme + "://" + u.Host }

// forDocuments returns the client that fetches discovery documents. Of pages that are none, go-oidc
// would repeat every word.
func forDocuments(client *http.Client) *http.Client {
	own := *client
	own.Transport = limiting{base: client.Transport, limit: maxDiscoveryBytes, successOnly: true}
	return &own
}

// forTokens returns the client that redeems codes. It follows no redirect: the secrets are for the
// token endpoint and nobody else. asOrigin, if any, is sent as the Origin.
func forTokens(client *http.Client, asOrigin string) *http.Client {
	own := *client
	own.Transport = limiting{base: client.Transport, limit: maxTokenAnswerBytes, origin: asOrigin}
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &own
}

// limiting bounds answers: beyond limit they end in an error.
type limiting struct {
	base        http.RoundTripper
	limit       int64
	successOnly bool   // drop the bodies of other answers than 200
	origin      string // sent as the Origin; "" for none
}

// RoundTrip implements http.RoundTripper.
func (l limiting) RoundTrip(r *http.Request) (*http.Response, error) {
	if l.origin != "" {
		r = r.Clone(r.Context())
		r.Header.Set("Origin", l.origin)
	}
	response, err := l.base.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if l.successOnly && response.StatusCode != http.StatusOK {
		response.Body.Close()
		response.Body = http.NoBody
		return response, nil
	}
	response.Body = &limitedBody{response.Body, l.limit}
	return response, nil
}

// limitedBody fails where io.LimitReader would end: a cut answer must not be taken for a whole one.
type limitedBody struct {
	io.ReadCloser
	left int64
}

// Read implements io.Reader.
func (b *limitedBody) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, errTooLong
	}
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return n - 1, errTooLong
	}
	return n, err
}

var errTooLong = errors.New("its answer is longer than is read")
