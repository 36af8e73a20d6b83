package oidc

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

const formContent = "application/x-www-form-urlencoded"

func post(target, contentType, body string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, target, strings.NewReader(body))
	r.Header.Set("Content-Type", contentType)
	return r
}

func get(query string) *http.Request {
	return httptest.NewRequest(http.MethodGet, "/oidc/callback?"+query, nil)
}

func TestAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		request *http.Request
		method  Method
		want    Answer
	}{
		"a code":            {get("code=c1&state=s1"), PKCE, Answer{Code: "c1", State: "s1"}},
		"Keycloak":          {get("state=s1&session_state=x&iss=https%3A%2F%2Fidp.acme.test%2Frealms%2Fa&code=c.1.x"), PKCE, Answer{Code: "c.1.x", State: "s1", Issuer: "https://idp.acme.test/realms/a"}},
		"Google":            {get("state=s1&iss=https://accounts.google.com&code=4%2F0A&scope=email+openid&authuser=0&hd=acme.test&prompt=none"), PKCE, Answer{Code: "4/0A", State: "s1", Issuer: "https://accounts.google.com"}},
		"an error":          {get("error=access_denied&error_description=User+said+%3Cno%3E%0D%0Ax&state=s1&error_uri=x"), PKCE, Answer{Error: "access_denied", ErrorDescription: "User said <no>??x", State: "s1"}},
		"an ID token":       {post("/oidc/callback", formContent, "id_token=a.b.c&state=s1"), Implicit, Answer{IDToken: "a.b.c", State: "s1"}},
		"with a charset":    {post("/oidc/callback", formContent+"; charset=UTF-8", "state=s1&id_token=a.b.c&session_state=x"), Implicit, Answer{IDToken: "a.b.c", State: "s1"}},
		"Entra's error":     {post("/oidc/callback", formContent, "error=access_denied&error_subcode=cancel&state=s1&error_description=AADSTS65004%3a+x"), Implicit, Answer{Error: "access_denied", ErrorDescription: "AADSTS65004: x", State: "s1"}},
		"with iss":          {post("/oidc/callback", formContent, "id_token=a.b.c&state=s1&iss=https://idp.acme.test"), Implicit, Answer{IDToken: "a.b.c", State: "s1", Issuer: "https://idp.acme.test"}},
		"a long refusal":    {get("state=s1&error=x&error_description=" + strings.Repeat("y", 5000)), PKCE, Answer{Error: "x", ErrorDescription: strings.Repeat("y", maxDiagnosticBytes) + "...", State: "s1"}},
		"a refusal, broken": {get("state=s1&error=x&error_description=%ff%fe%1b[31m%e2%80%ae"), PKCE, Answer{Error: "x", ErrorDescription: "??[31m?", State: "s1"}},
	} {
		got, err := ParseAnswer(c.request, c.method)
		if err != nil || got != c.want {
			t.Errorf("%s: %#v, %v", name, struct{ A []string }{[]string{got.Code, got.IDToken, got.State, got.Issuer, got.Error, got.ErrorDescription}}, err)
		}
	}
}

// O05, O23: everything that is not the one form of the method.
func TestAnswersThatAreNone(t *testing.T) {
	with := func(r *http.Request, change func(*http.Request)) *http.Request {
		change(r)
		return r
	}
	const good = "id_token=a.b.c&state=s1"
	for name, c := range map[string]struct {
		request *http.Request
		method  Method
	}{
		"a code by POST":                   {post("/", formContent, "code=c1&state=s1"), PKCE},
		"a code by POST, in the query":     {post("/?code=c1&state=s1", formContent, ""), PKCE},
		"a code by HEAD":                   {httptest.NewRequest(http.MethodHead, "/?code=c1&state=s1", nil), PKCE},
		"nothing":                          {get(""), PKCE},
		"a code without state":             {get("code=c1"), PKCE},
		"a code, state empty":              {get("code=c1&state="), PKCE},
		"a state without code":             {get("state=s1"), PKCE},
		"code empty":                       {get("code=&state=s1"), PKCE},
		"an ID token in the query":         {get(good), PKCE},
		"an ID token beside the code":      {get("code=c1&" + good), PKCE},
		"an access token beside the code":  {get("code=c1&state=s1&access_token=x"), PKCE},
		"an empty access token":            {get("code=c1&state=s1&access_token="), PKCE},
		"code and error":                   {get("code=c1&state=s1&error=access_denied"), PKCE},
		"error without state":              {get("error=access_denied"), PKCE},
		"two codes":                        {get("code=c1&code=c2&state=s1"), PKCE},
		"two equal codes":                  {get("code=c1&code=c1&state=s1"), PKCE},
		"two codes, one escaped":           {get("code=c1&%63ode=c2&state=s1"), PKCE},
		"two states":                       {get("code=c1&state=s1&state=s2"), PKCE},
		"two iss":                          {get("code=c1&state=s1&iss=a&iss=b"), PKCE},
		"two of what means nothing":        {get("code=c1&state=s1&x=1&x=2"), PKCE},
		"semicolons":                       {get("code=c1;state=s1&state=s1"), PKCE},
		"a broken escape":                  {get("code=c1&state=s1&x=%zz"), PKCE},
		"a code with a newline":            {get("code=c1%0a&state=s1"), PKCE},
		"a code with NUL":                  {get("code=c1%00&state=s1"), PKCE},
		"a code in Unicode":                {get("code=%c3%a9&state=s1"), PKCE},
		"a state in broken UTF-8":          {get("code=c1&state=%ff"), PKCE},
		"a long code":                      {get("code=" + strings.Repeat("c", maxCodeBytes+1) + "&state=s1"), PKCE},
		"a long state":                     {get("code=c1&state=" + strings.Repeat("s", maxStateBytes+1)), PKCE},
		"a long error":                     {get("state=s1&error=" + strings.Repeat("e", maxErrorBytes+1)), PKCE},
		"a long query":                     {get("code=c1&state=s1&x=" + strings.Repeat("x", maxQueryBytes)), PKCE},
		"many parameters":                  {get("code=c1&state=s1" + strings.Repeat("&", maxParameters)), PKCE},
		"an ID token by GET":               {get(good), Implicit},
		"an ID token by PUT":               {with(post("/", formContent, good), func(r *http.Request) { r.Method = http.MethodPut }), Implicit},
		"an ID token in a POST's query":    {post("/?"+good, formContent, ""), Implicit},
		"state in the query":               {post("/?state=s1", formContent, "id_token=a.b.c"), Implicit},
		"an unknown query":                 {post("/?x", formContent, good), Implicit},
		"a code in the form":               {post("/", formContent, "code=c1&state=s1"), Implicit},
		"a code beside the ID token":       {post("/", formContent, good+"&code=c1"), Implicit},
		"an access token beside it":        {post("/", formContent, good+"&access_token=x"), Implicit},
		"an error beside it":               {post("/", formContent, good+"&error=x"), Implicit},
		"two ID tokens":                    {post("/", formContent, good+"&id_token=d.e.f"), Implicit},
		"an empty form":                    {post("/", formContent, ""), Implicit},
		"no body":                          {with(post("/", formContent, ""), func(r *http.Request) { r.Body = nil }), Implicit},
		"text":                             {post("/", "text/plain", good), Implicit},
		"JSON":                             {post("/", "application/json", `{"id_token":"a.b.c","state":"s1"}`), Implicit},
		"multipart":                        {post("/", "multipart/form-data; boundary=x", "--x\r\n"), Implicit},
		"UTF-16":                           {post("/", formContent+"; charset=utf-16", good), Implicit},
		"UTF-7":                            {post("/", formContent+"; charset=utf-7", good), Implicit},
		"another parameter of the type":    {post("/", formContent+"; x=y", good), Implicit},
		"no type":                          {with(post("/", formContent, good), func(r *http.Request) { r.Header.Del("Content-Type") }), Implicit},
		"two types":                        {with(post("/", formContent, good), func(r *http.Request) { r.Header.Add("Content-Type", formContent) }), Implicit},
		"a type that is none":              {post("/", "x;;", good), Implicit},
		"compressed":                       {with(post("/", formContent, good), func(r *http.Request) { r.Header.Set("Content-Encoding", "gzip") }), Implicit},
		"a long ID token":                  {post("/", formContent, "state=s1&id_token="+strings.Repeat("x", 17<<10)), Implicit},
		"a body that breaks":               {with(post("/", formContent, good), func(r *http.Request) { r.Body = io.NopCloser(broken{}) }), Implicit},
		"a method that is none":            {get("code=c1&state=s1"), 7},
		"a method that is none, by a form": {post("/", formContent, good), 7},
	} {
		got, err := ParseAnswer(c.request, c.method)
		if got != (Answer{}) {
			t.Errorf("%s: an answer comes with an error", name)
		}
		wantError(t, name, err, iam.KindInvalid, ReasonAnswerMalformed)
	}
	read := &counting{Reader: strings.NewReader("id_token=" + strings.Repeat("x", 10<<20))}
	_, err := ParseAnswer(with(post("/", formContent, ""), func(r *http.Request) { r.Body = io.NopCloser(read) }), Implicit)
	wantError(t, "10 MiB", err, iam.KindTooLarge, ReasonAnswerMalformed)
	if read.n > 2*maxAnswerBytes {
		t.Errorf("%d bytes were read", read.n)
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("broken\r\n") }

type counting struct {
	io.Reader
	n int
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n += n
	return n, err
}

func TestLogoutRequests(t *testing.T) {
	if token, err := ParseLogoutRequest(post("/oidc/backchannel-logout", formContent, "logout_token=a.b.c&x=1")); err != nil || token != "a.b.c" {
		t.Error(token, err)
	}
	for name, r := range map[string]*http.Request{
		"GET":          httptest.NewRequest(http.MethodGet, "/?logout_token=a.b.c", nil),
		"in the query": post("/?logout_token=a.b.c", formContent, ""),
		"twice":        post("/", formContent, "logout_token=a.b.c&logout_token=a.b.c"),
		"missing":      post("/", formContent, "token=a.b.c"),
		"empty":        post("/", formContent, "logout_token="),
		"JSON":         post("/", "application/json", `{"logout_token":"a.b.c"}`),
		"a token":      post("/", "application/jwt", `a.b.c`),
		"long":         post("/", formContent, "logout_token="+strings.Repeat("x", 17<<10)),
	} {
		_, err := ParseLogoutRequest(r)
		wantError(t, name, err, iam.KindInvalid, ReasonAnswerMalformed)
	}
	_, err := ParseLogoutRequest(post("/", formContent, strings.Repeat("x", 10<<20)))
	wantError(t, "10 MiB", err, iam.KindTooLarge, ReasonAnswerMalformed)
}

func TestAnswerPrintsNothing(t *testing.T) {
	a := Answer{Code: "canary", IDToken: "canary", State: "canary", ErrorDescription: "canary"}
	if s := fmt.Sprintf("%v %+v %#v %s %q %v", a, a, a, a, a, &a); strings.Contains(s, "canary") {
		t.Error(s)
	}
}

// FuzzParseAnswer: whatever comes, an answer is complete, of its method, and within its bounds; and it
// says the same when it is written again.
func FuzzParseAnswer(f *testing.F) {
	for _, s := range []string{
		"", "code=c1&state=s1", "id_token=a.b.c&state=s1", "error=access_denied&state=s1&error_description=%0d%0a", "code=c1&code=c2&state=s1",
		"code=c1&state=s1&iss=https://idp.acme.test", "code=c1;state=s1", "%63ode=1&state=%ff", "code=c1&state=s1&access_token=",
	} {
		f.Add(s, true)
		f.Add(s, false)
	}
	f.Fuzz(func(t *testing.T, text string, pkce bool) {
		method, r := Implicit, post("/oidc/callback", formContent, text)
		if pkce {
			method, r = PKCE, httptest.NewRequest(http.MethodGet, "/oidc/callback", nil)
			r.URL.RawQuery = text
		}
		a, err := ParseAnswer(r, method)
		if err != nil {
			if a != (Answer{}) || iam.KindOf(err) != iam.KindInvalid && iam.KindOf(err) != iam.KindTooLarge {
				t.Fatal(err)
			}
			return
		}
		proof, other := a.IDToken, a.Code
		if pkce {
			proof, other = other, proof
		}
		if (proof == "") == (a.Error == "") || other != "" || a.State == "" || !visible(a.State+proof+a.Error+a.Issuer) ||
			strings.ContainsAny(a.ErrorDescription, "\r\n\x00\x1b") || len(a.ErrorDescription) > maxDiagnosticBytes+3 {
			t.Fatalf("%q", text)
		}
		again := url.Values{"state": {a.State}}
		for name, value := range map[string]string{"code": a.Code, "id_token": a.IDToken, "iss": a.Issuer, "error": a.Error, "error_description": a.ErrorDescription} {
			if value != "" {
				again.Set(name, value)
			}
		}
		b, err := parseAnswer(again.Encode(), method)
		if err != nil || a.ErrorDescription == b.ErrorDescription && a != b {
			t.Fatalf("%q reads otherwise when written again: %v", text, err)
		}
	})
}
