package main

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"runtime"
	"sync"
	"time"
)

// issuer is an identity provider of which there is little more than its keys. It signs with RS256, as
// most do.
type issuer struct {
	url    string
	key    *rsa.PrivateKey
	server *http.Server
}

func startIssuer() (*issuer, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	i := &issuer{url: "http://" + l.Addr().String(), key: key}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", i.describe)
	mux.HandleFunc("GET /keys", i.keys)
	i.server = &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go i.server.Serve(l) // ends with Close
	return i, nil
}

func (i *issuer) describe(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Write(encode(map[string]string{"issuer": i.url, "jwks_uri": i.url + "/keys"}))
}

func (i *issuer) keys(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Write(encode(map[string]any{"keys": []map[string]string{{
		"kty": "RSA", "kid": "bench", "use": "sig", "alg": "RS256",
		"n": base64URL(i.key.N.Bytes()), "e": base64URL(big.NewInt(int64(i.key.E)).Bytes()),
	}}}))
}

func base64URL(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// unsigned is the text of an assertion about a user up to its signature. Each id makes another one.
func (i *issuer) unsigned(user int, id string) string {
	now := time.Now().Unix()
	claims := encode(map[string]any{
		"iss": i.url, "sub": address(user), "aud": organization, "iat": now, "nbf": now, "exp": now + 2*60*60, "jti": id,
		"name": userName(user), "email": address(user), "auth_time": now, "amr": []string{"pwd", "mfa"},
	})
	return base64URL([]byte(`{"alg":"RS256","kid":"bench","typ":"JWT"}`)) + "." + base64URL(claims)
}

func (i *issuer) assertion(user int, id string) (string, error) {
	text := i.unsigned(user, id)
	sum := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(nil, i.key, crypto.SHA256, sum[:])
	return text + "." + base64URL(signature), err
}

// bogus is an assertion whose signature is invented. It costs the whole check: its first byte is 0, so
// that as a number it is smaller than the key's modulus.
func (i *issuer) bogus(user int, id string) string {
	signature := make([]byte, i.key.Size())
	rand.Read(signature[1:]) // never fails (crypto/rand)
	return i.unsigned(user, id) + "." + base64URL(signature)
}

// assertions signs one for each of count users in turn, on all cores.
func (i *issuer) assertions(count, users int) ([]string, error) {
	all, failures := make([]string, count), make([]error, runtime.GOMAXPROCS(0))
	var wg sync.WaitGroup
	for worker := range failures {
		wg.Go(func() {
			for n := worker; n < count && failures[worker] == nil; n += len(failures) {
				all[n], failures[worker] = i.assertion(n%users, fmt.Sprintf("new-%08d", n))
			}
		})
	}
	wg.Wait()
	return all, errors.Join(failures...)
}

// postExchange asks for an access token as the SDK does (sdk-wire 1.3).
func postExchange(assertion string) []byte {
	form := url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {assertion}}.Encode()
	return fmt.Appendf(nil, "POST /oidc/token HTTP/1.1\r\nHost: %s\r\nUser-Agent: wandb-core\r\nAccept-Encoding: gzip\r\n"+
		"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%s", host, len(form), form)
}

// exchange returns the access tokens for assertions, and how every such answer looks.
func exchange(ctx context.Context, gateway *side, assertions []string) ([]string, response, error) {
	requests := make([][]byte, len(assertions))
	for n, assertion := range assertions {
		requests[n] = postExchange(assertion)
	}
	got, err := answers(ctx, gateway.address, requests)
	if err != nil {
		return nil, response{}, gateway.failed(err)
	}
	tokens := make([]string, len(got))
	for n := range got {
		var made struct {
			Token string `json:"access_token"`
		}
		if err := json.Unmarshal(got[n].body, &made); err != nil || made.Token == "" || got[n].response != got[0].response {
			return nil, response{}, gateway.failed(fmt.Errorf("the exchange was answered %d %s", got[n].status, got[n].body))
		}
		tokens[n] = made.Token
	}
	return tokens, got[0].response, nil
}

// exchangesEach is how many new assertions are exchanged at most in a round: enough for a second. They
// are signed before anything is measured, which takes longer than their exchange.
const exchangesEach = 6000

// bogusRate is how many invented tokens come each second beside valid requests (issue "Speed").
const bogusRate = 1000

// prepareFederation makes what is compared where people and jobs sign in with tokens. It needs all
// cores, and the gateway.
func (b *bench) prepareFederation(ctx context.Context) error {
	callers := b.population.callers(callersEach)
	asserted, tokened, signedIn := make([]caller, len(callers)), make([]caller, len(callers)), make([]caller, len(callers))
	assertions := make([]string, len(callers))
	for n, c := range callers {
		var err error
		if assertions[n], err = b.issuer.assertion(c.user, fmt.Sprintf("caller-%d", n)); err != nil {
			return err
		}
		asserted[n] = c
		asserted[n].credential = basic(assertions[n]) // in WANDB_API_KEY
		signedIn[n] = c
		if signedIn[n].credential, err = signIn(ctx, b.gateway, c.user); err != nil {
			return err
		}
	}
	tokens, exchanged, err := exchange(ctx, b.gateway, assertions)
	if err != nil {
		return err
	}
	for n, c := range callers {
		tokened[n] = c
		tokened[n].credential = bearer(tokens[n])
	}
	b.credentials = []credentials{{"API key", callers}, {"access token", tokened}, {"assertion", asserted}, {"session", signedIn}}
	b.exchanges.repeated = workload{name: "POST /oidc/token", want: exchanged}
	for _, assertion := range assertions {
		b.exchanges.repeated.requests = append(b.exchanges.repeated.requests, postExchange(assertion))
	}
	if p := b.exchangePair(); p.has(b.work) {
		fmt.Fprintf(b.progress, "signing %d assertions\n", b.rounds*exchangesEach)
		b.exchanges.fresh, err = b.issuer.assertions(b.rounds*exchangesEach, b.keys/keysEach)
	}
	return err
}

// credentials are the same callers with one kind of credential.
type credentials struct {
	name    string
	callers []caller
}

// exchanges are assertions to be exchanged.
type exchanges struct {
	repeated workload
	fresh    []string // each is exchanged once
}

// new is the share of a round in the assertions that nobody has seen yet.
func (e *exchanges) new(round int) workload {
	w := workload{name: e.repeated.name, want: e.repeated.want}
	for _, assertion := range e.fresh[round*exchangesEach:][:exchangesEach] {
		w.requests = append(w.requests, postExchange(assertion))
	}
	return w
}

// credentialPairs compares every other credential with API keys, the measure for all.
func (b *bench) credentialPairs(ctx context.Context) ([]pair, error) {
	const name, target = "GET file 1 KB", 0.95
	var contenders []contender
	for _, c := range b.credentials {
		w := workload{name: name + ", " + c.name}
		for _, who := range c.callers {
			w.requests = append(w.requests, getFile(who))
		}
		if err := w.learn(ctx, b.upstream, b.gateway); err != nil {
			return nil, err
		}
		contenders = append(contenders, b.gateway.sending(c.name, w, (*clients).closedLoop))
	}
	var pairs []pair
	for _, other := range contenders[1:] {
		pairs = append(pairs, pair{name: name, left: contenders[0], right: other, target: target})
	}
	quiet := contenders[1] // access tokens
	quiet.name, quiet.run = "quiet", openLoop(b.rate)
	flooded := quiet
	flooded.name, flooded.beside = fmt.Sprintf("beside %d bogus tokens/s", bogusRate), b.flood
	return append(pairs, pair{name: fmt.Sprintf("%s at %d requests/s", quiet.load(0).name, b.rate),
		left: quiet, right: flooded, open: true, p99Target: 2}), nil
}

// exchangePair compares assertions that are exchanged for the first time with those that were before.
func (b *bench) exchangePair() pair {
	repeated := b.gateway.sending("repeated assertions", b.exchanges.repeated, (*clients).closedLoop)
	fresh := contender{name: "new assertions", side: b.gateway, load: b.exchanges.new, run: (*clients).once, once: true}
	return pair{name: b.exchanges.repeated.name, left: repeated, right: fresh}
}

// flood sends tokens of the right form, issuer and key id whose signatures are invented, no two the
// same: half of them to be exchanged, half as credentials. Each must be refused.
func (b *bench) flood(ctx context.Context, d time.Duration) (func() outcome, error) {
	w := workload{name: "bogus tokens", refused: true}
	who := b.population.callers(callersEach)
	run := rand.Text()
	for n := range int(float64(bogusRate) * d.Seconds()) {
		c := who[n%len(who)]
		token := b.issuer.bogus(c.user, fmt.Sprintf("bogus-%s-%d", run, n))
		if n%2 == 0 {
			w.requests = append(w.requests, postExchange(token))
			continue
		}
		c.credential = bearer(token)
		w.requests = append(w.requests, getFile(c))
	}
	c, err := newClients(ctx, b.gateway.address, b.connections, w)
	if err != nil {
		return nil, err
	}
	ended := make(chan outcome)
	go func() { ended <- c.openLoop(d, bogusRate) }()
	return func() outcome {
		o := <-ended
		c.close()
		b.flooded.add(o)
		return o
	}, nil
}

// floods counts what the floods of all rounds sent.
type floods struct {
	sent    int
	elapsed time.Duration
}

func (f *floods) add(o outcome) {
	f.sent += len(o.latencies)
	f.elapsed += o.elapsed
}

func (f *floods) rate() float64 {
	if f.elapsed == 0 {
		return 0
	}
	return float64(f.sent) / f.elapsed.Seconds()
}
