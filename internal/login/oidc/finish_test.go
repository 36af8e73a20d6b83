package oidc

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/keys/jws"
)

// O01 to O04 as far as they reach a connector: which answers belong to which flow.
func TestAnswersThatBelongElsewhere(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Flow, *Answer)
		reason iam.Reason // "" for accepted
	}{
		"good":                     {func(*Flow, *Answer) {}, ""},
		"state of another flow":    {func(_ *Flow, a *Answer) { a.State = random() }, ReasonState},
		"no state":                 {func(_ *Flow, a *Answer) { a.State = "" }, ReasonState},
		"state with a tail":        {func(_ *Flow, a *Answer) { a.State += "x" }, ReasonState},
		"flow without state":       {func(f *Flow, a *Answer) { f.State, a.State = "", "" }, ReasonFlowUnknown},
		"flow without nonce":       {func(f *Flow, _ *Answer) { f.Nonce = "" }, ReasonFlowUnknown},
		"empty flow":               {func(f *Flow, _ *Answer) { *f = Flow{} }, ReasonFlowUnknown},
		"flow of another provider": {func(f *Flow, _ *Answer) { f.Issuer = "https://other.acme.test" }, ReasonFlowUnknown},
		"nonce of another flow":    {func(f *Flow, _ *Answer) { f.Nonce = random() }, ReasonNonce},
		"10 minutes old":           {func(f *Flow, _ *Answer) { f.Created = f.Created.Add(-flowLife) }, ""},
		"older":                    {func(f *Flow, _ *Answer) { f.Created = f.Created.Add(-flowLife - 1) }, ReasonFlowExpired},
		"from the near future":     {func(f *Flow, _ *Answer) { f.Created = f.Created.Add(leeway) }, ""},
		"from the future":          {func(f *Flow, _ *Answer) { f.Created = f.Created.Add(leeway + 1) }, ReasonFlowExpired},
		"from another provider":    {func(_ *Flow, a *Answer) { a.Issuer = "https://other.acme.test" }, ReasonIssuer},
		"iss with a slash":         {func(f *Flow, a *Answer) { a.Issuer = f.Issuer + "/" }, ReasonIssuer},
		"iss right":                {func(f *Flow, a *Answer) { a.Issuer = f.Issuer }, ""},
	} {
		for _, method := range []Method{Implicit, PKCE} {
			a := newAuthority(t)
			connector := a.connector(t, func(cfg *Config) { cfg.Method = method })
			asked, f := begin(t, connector)
			answer := a.answerWith(connector, asked, a.key.token(a.claims(asked.Get("nonce"), nil)))
			c.change(f, &answer)
			_, err := connector.Finish(t.Context(), f, answer)
			name := method.String() + ", " + name
			if c.reason == "" {
				if err != nil {
					t.Errorf("%s: %v", name, err)
				}
				continue
			}
			wantError(t, name, err, iam.KindUnauthenticated, c.reason)
			if c.reason != ReasonNonce && a.count("/token") != 0 {
				t.Errorf("%s: the code was sent", name)
			}
		}
	}
}

func TestNoFlow(t *testing.T) {
	a := newAuthority(t)
	for _, change := range []func(*Config){nil, withPKCE} {
		_, err := a.connector(t, change).Finish(t.Context(), nil, Answer{State: "x", Code: "x", IDToken: "x"})
		wantError(t, "no flow", err, iam.KindUnauthenticated, ReasonFlowUnknown)
	}
	// A flow begun in one method does not end in the other: no code is redeemed without a verifier (O03).
	implicit, pkce := a.connector(t, nil), a.connector(t, withPKCE)
	_, f := begin(t, implicit)
	_, err := pkce.Finish(t.Context(), f, Answer{State: f.State, Code: "x"})
	wantError(t, "without a challenge", err, iam.KindUnauthenticated, ReasonFlowUnknown)
	_, f = begin(t, pkce)
	_, err = implicit.Finish(t.Context(), f, Answer{State: f.State, IDToken: "x"})
	wantError(t, "with a challenge", err, iam.KindUnauthenticated, ReasonFlowUnknown)
	// What nobody parsed is held to the same.
	for name, answer := range map[string]Answer{
		"nothing": {}, "no code": {IDToken: "x"}, "both": {Code: "x", IDToken: "x"},
	} {
		_, f = begin(t, pkce)
		answer.State = f.State
		_, err = pkce.Finish(t.Context(), f, answer)
		wantError(t, name, err, iam.KindInvalid, ReasonAnswerMalformed)
	}
	if a.count("/token") != 0 {
		t.Error("a code was sent")
	}
}

// RFC 9207: a provider that names itself must do so in every answer that has no ID token.
func TestIssuerParameterIsRequiredWhereAnnounced(t *testing.T) {
	a := newAuthority(t)
	a.document["authorization_response_iss_parameter_supported"] = true
	pkce, implicit := a.connector(t, withPKCE), a.connector(t, nil)
	asked, f := begin(t, pkce)
	answer := a.answerWith(pkce, asked, a.key.token(a.claims(f.Nonce, nil)))
	_, err := pkce.Finish(t.Context(), f, answer)
	wantError(t, "a code", err, iam.KindUnauthenticated, ReasonIssuer)
	_, err = pkce.Finish(t.Context(), f, Answer{State: f.State, Error: "access_denied"})
	wantError(t, "an error", err, iam.KindUnauthenticated, ReasonIssuer)
	if a.count("/token") != 0 {
		t.Error("the code was sent")
	}
	answer.Issuer = a.URL
	if _, err := pkce.Finish(t.Context(), f, answer); err != nil {
		t.Error(err)
	}
	if _, err := a.signInAs(t, implicit, nil); err != nil {
		t.Errorf("an ID token names its issuer itself: %v", err)
	}
}

// oidcc-client-test-form-post-error, O06.
func TestErrorsFromTheProvider(t *testing.T) {
	a := newAuthority(t)
	for code, want := range map[string]struct {
		kind   iam.Kind
		reason iam.Reason
	}{
		"access_denied":             {iam.KindDenied, ReasonAccessDenied},
		"login_required":            {iam.KindDenied, ReasonAccessDenied},
		"consent_required":          {iam.KindDenied, ReasonAccessDenied},
		"unsupported_response_type": {iam.KindDenied, ReasonRefused},
		"invalid_scope":             {iam.KindDenied, ReasonRefused},
		"server_error":              {iam.KindUnavailable, ReasonUnavailable},
		"temporarily_unavailable":   {iam.KindUnavailable, ReasonUnavailable},
		"<script>":                  {iam.KindDenied, ReasonRefused},
	} {
		for _, change := range []func(*Config){nil, withPKCE} {
			c := a.connector(t, change)
			_, f := begin(t, c)
			_, err := c.Finish(t.Context(), f, Answer{State: f.State, Error: code, ErrorDescription: "canary said\r\n" + strings.Repeat("x", 1000)})
			if iam.KindOf(err) != want.kind || iam.ReasonOf(err) != want.reason {
				t.Errorf("%s: %v", code, err)
			}
			if message := err.(*iam.Error).Message; strings.Contains(message, "canary") || strings.Contains(message, "script") || strings.ContainsAny(err.Error(), "\r\n") || len(err.Error()) > 900 {
				t.Errorf("%s: %q", code, err)
			}
			if _, err := c.Finish(t.Context(), f, Answer{State: "x", Error: code}); iam.ReasonOf(err) != ReasonState {
				t.Errorf("%s, of another flow: %v", code, err)
			}
		}
	}
}

// The token endpoint: no is no, trouble is trouble, and nothing is told of what was sent.
func TestTokenEndpoint(t *testing.T) {
	status := func(code int, body string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r.ParseForm()
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(code)
			fmt.Fprint(w, strings.ReplaceAll(strings.ReplaceAll(body, "CODE", r.PostForm.Get("code")), "VERIFIER", r.PostForm.Get("code_verifier")))
		})
	}
	elsewhere := newAuthority(t)
	redirect := func(code int) http.Handler {
		return http.RedirectHandler(elsewhere.URL+"/token", code)
	}
	for name, c := range map[string]struct {
		handler http.Handler
		kind    iam.Kind
		reason  iam.Reason
	}{
		"invalid_grant":              {status(400, `{"error":"invalid_grant","error_description":"CODE VERIFIER canary-client-secret is unknown\r\n"}`), iam.KindUnauthenticated, ReasonCodeRefused},
		"invalid_request":            {status(400, `{"error":"invalid_request"}`), iam.KindUnauthenticated, ReasonCodeRefused},
		"invalid_client":             {status(401, `{"error":"invalid_client"}`), iam.KindUnauthenticated, ReasonClientRefused},
		"invalid_client as 400":      {status(400, `{"error":"invalid_client"}`), iam.KindUnauthenticated, ReasonClientRefused},
		"unauthorized_client":        {status(400, `{"error":"unauthorized_client"}`), iam.KindUnauthenticated, ReasonClientRefused},
		"401 without words":          {status(401, ``), iam.KindUnauthenticated, ReasonClientRefused},
		"400 in HTML":                {status(400, `<html>CODE`), iam.KindUnauthenticated, ReasonCodeRefused},
		"404":                        {status(404, `no`), iam.KindUnauthenticated, ReasonCodeRefused},
		"an error as 200":            {status(200, `{"error":"invalid_grant"}`), iam.KindUnauthenticated, ReasonCodeRefused},
		"temporarily_unavailable":    {status(400, `{"error":"temporarily_unavailable"}`), iam.KindUnavailable, ReasonUnavailable},
		"429":                        {status(429, `{}`), iam.KindUnavailable, ReasonUnavailable},
		"408":                        {status(408, `{}`), iam.KindUnavailable, ReasonUnavailable},
		"500":                        {status(500, `CODE`), iam.KindUnavailable, ReasonUnavailable},
		"503":                        {status(503, `{"error":"invalid_grant"}`), iam.KindUnavailable, ReasonUnavailable},
		"302 elsewhere":              {redirect(302), iam.KindUnavailable, ReasonUnavailable},
		"307 elsewhere":              {redirect(307), iam.KindUnavailable, ReasonUnavailable},
		"307 within its origin":      {http.RedirectHandler("/token2", http.StatusTemporaryRedirect), iam.KindUnavailable, ReasonUnavailable},
		"308 elsewhere":              {redirect(308), iam.KindUnavailable, ReasonUnavailable},
		"HTML":                       {status(200, `<html>`), iam.KindUnavailable, ReasonUnavailable},
		"nothing":                    {status(200, ``), iam.KindUnavailable, ReasonUnavailable},
		"half JSON":                  {status(200, `{"access_token":"canary","id_`), iam.KindUnavailable, ReasonUnavailable},
		"no access token":            {status(200, `{"id_token":"x"}`), iam.KindUnavailable, ReasonUnavailable},
		"no ID token":                {status(200, `{"access_token":"canary"}`), iam.KindUnauthenticated, ReasonNoIDToken},
		"an empty ID token":          {status(200, `{"access_token":"canary","id_token":""}`), iam.KindUnauthenticated, ReasonNoIDToken},
		"an ID token that is a list": {status(200, `{"access_token":"canary","id_token":["x"]}`), iam.KindUnauthenticated, ReasonNoIDToken},
		"an ID token that is none":   {status(200, `{"access_token":"canary","id_token":"x"}`), iam.KindUnauthenticated, jws.ReasonMalformed},
		"8 MiB":                      {status(200, `{"access_token":"canary","x":"`+strings.Repeat("x", 8<<20)+`"}`), iam.KindUnavailable, ReasonUnavailable},
		"the connection breaks":      {http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }), iam.KindUnavailable, ReasonUnavailable},
	} {
		a := newAuthority(t)
		connector := a.connector(t, func(cfg *Config) { cfg.Method, cfg.ClientSecret = PKCE, iam.NewSecret(secret) })
		asked, f := begin(t, connector)
		answer := a.answerWith(connector, asked, a.key.token(a.claims(f.Nonce, nil)))
		a.set(func() { a.tokens = c.handler })
		_, err := connector.Finish(t.Context(), f, answer)
		wantError(t, name, err, c.kind, c.reason)
		if a.count("/token2") != 0 {
			t.Errorf("%s: secrets followed it", name)
		}
		if err != nil && strings.Contains(err.Error(), f.Verifier) {
			t.Errorf("%s tells the verifier: %v", name, err)
		}
		if c.kind == iam.KindUnavailable && err.(*iam.Error).RetryAfter <= 0 {
			t.Errorf("%s: nobody knows when to come again", name)
		}
	}
	if elsewhere.count("/token") != 0 {
		t.Error("secrets followed a redirect")
	}
}

// A token endpoint that hangs costs its caller no more than the caller waits.
func TestTokenEndpointThatHangs(t *testing.T) {
	a := newAuthority(t)
	c := a.connector(t, withPKCE)
	asked, f := begin(t, c)
	answer := a.answerWith(c, asked, "")
	ctx, cancel := context.WithCancel(t.Context())
	a.set(func() {
		a.tokens = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			r.ParseForm() // reads the body, so that the server sees the client leave
			cancel()
			<-r.Context().Done()
		})
	})
	_, err := c.Finish(ctx, f, answer)
	wantError(t, "it hangs", err, iam.KindUnavailable, ReasonUnavailable)
}

// A code is bound to its flow by the verifier: one injected from another flow is refused at the
// provider (O03).
func TestInjectedCode(t *testing.T) {
	a := newAuthority(t)
	c := a.connector(t, withPKCE)
	attacker, stolen := begin(t, c)
	theirs := a.answerWith(c, attacker, a.key.token(a.claims(stolen.Nonce, nil)))
	_, f := begin(t, c)
	_, err := c.Finish(t.Context(), f, Answer{State: f.State, Code: theirs.Code})
	wantError(t, "injected", err, iam.KindUnauthenticated, ReasonCodeRefused)
	_, err = c.Finish(t.Context(), stolen, theirs)
	wantError(t, "used twice", err, iam.KindUnauthenticated, ReasonCodeRefused)
	// Even a provider without PKCE: the nonce is of the other flow.
	asked, f := begin(t, c)
	answer := a.answerWith(c, asked, a.key.token(a.claims(stolen.Nonce, nil)))
	_, err = c.Finish(t.Context(), f, answer)
	wantError(t, "the nonce of the attacker's flow", err, iam.KindUnauthenticated, ReasonNonce)
}

func TestFlowOfOneSecond(t *testing.T) {
	a := newAuthority(t)
	c := a.connector(t, nil)
	asked, f := begin(t, c)
	a.clock.add(flowLife + time.Second)
	_, err := c.Finish(t.Context(), f, a.answerWith(c, asked, a.key.token(a.claims(f.Nonce, nil))))
	wantError(t, "too late", err, iam.KindUnauthenticated, ReasonFlowExpired)
	if message := err.(*iam.Error).Message; !strings.Contains(message, "10 minutes") {
		t.Error(message)
	}
}
