package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/session"
	"github.com/wandb-gateway/wandb-gateway/internal/standin"
)

// signInClient is the gateway's name at the provider.
const signInClient = "wandb-gateway"

// provider is where people sign in: the stand-in of a company's OpenID provider.
type provider struct {
	url    string
	server *http.Server
}

// startProvider starts a provider at which the callers of a work load can sign in.
func startProvider(callers []caller) (*provider, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	var people []standin.Person
	for _, c := range callers {
		people = append(people, standin.Person{Username: userName(c.user), Email: address(c.user), Name: userName(c.user)})
	}
	p := &provider{url: "http://" + l.Addr().String()}
	handler, err := standin.NewProvider(p.url, signInClient, people...)
	if err != nil {
		return nil, err
	}
	p.server = &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second}
	go p.server.Serve(l) // ends with Close
	return p, nil
}

// signIn does what a browser does in which a user signs in, and returns the header line of the session.
func signIn(ctx context.Context, gateway *side, user int) (string, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return "", err
	}
	browser := &http.Client{Jar: jar, Timeout: 10 * time.Second}
	choice, err := visit(ctx, browser, http.MethodGet, "http://"+gateway.address+"/oidc/login", nil)
	if err != nil {
		return "", gateway.failed(err)
	}
	if _, err := visit(ctx, browser, http.MethodPost, choice, url.Values{"username": {userName(user)}}); err != nil {
		return "", gateway.failed(err)
	}
	cookies := jar.Cookies(&url.URL{Scheme: "http", Host: gateway.address, Path: "/"})
	i := slices.IndexFunc(cookies, func(c *http.Cookie) bool { return c.Name == session.CookieName(false) })
	if i < 0 {
		return "", gateway.failed(fmt.Errorf("%s signed in and got no session", userName(user)))
	}
	return "Cookie: " + cookies[i].Name + "=" + cookies[i].Value, nil
}

// visit opens a page, with a form or none, and returns the address where redirects led to.
func visit(ctx context.Context, browser *http.Client, method, address string, form url.Values) (string, error) {
	req, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	req.Header.Set("Accept", "text/html")
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	res, err := browser.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	if body, _ := io.ReadAll(io.LimitReader(res.Body, 16<<10)); res.StatusCode >= http.StatusBadRequest {
		return "", fmt.Errorf("%s is answered %d %s", res.Request.URL.Path, res.StatusCode, body)
	}
	return res.Request.URL.String(), nil
}
