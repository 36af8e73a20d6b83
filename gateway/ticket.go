package gateway

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// Tickets let an upload through that carries no credential: the SDK sends files with whatever
// headers the server named beside the upload URL, and nothing else (sdk-wire 3.3). The gateway adds
// a ticket to those headers when the upload will come back to it.
//
// Downloads from URLs that the server signed come without a credential too (sdk-wire 3.4); their ticket
// stands in the URL itself, for there is no other place, and is taken out before the request goes on.
//
// A ticket is bound to a method, to the exact URLs it was made for and to the principal, and is good
// for 24 h, or until the API key ends with which it was asked for, as often as the client retries (design
// section 6). It is
//
//	base64url(expiry . principal . 0x00 . one tag for each URL . MAC over all before)
//
// where a tag is a MAC over method and URL, truncated. Being keyed, a tag cannot be searched for offline,
// so 96 bits are plenty, and a header that serves many files stays short.
type Tickets struct {
	key [32]byte
	now func() time.Time
}

const (
	ticketLife   = 24 * time.Hour
	ticketTag    = 12
	ticketMAC    = sha256.Size
	ticketExpiry = 8
	// maxTicketURLs keeps the header below the 8 KiB that proxies on the way allow.
	maxTicketURLs = 400
)

// NewTickets returns the maker and verifier of tickets under a key of its own.
func NewTickets(key [32]byte) *Tickets { return &Tickets{key: key, now: time.Now} }

// Mint returns a ticket for requests of these URLs by the principal: uploads by PUT, or downloads by
// GET and HEAD. It is false when there are no URLs, or more than one header can carry. It ends no later than the
// API key that asked for it.
func (t *Tickets) Mint(use ticketUse, p *iam.Principal, urls []string) (string, bool) {
	if len(urls) == 0 || len(urls) > maxTicketURLs || p.Ref.ID == "" {
		return "", false
	}
	who, end := p.Ref.String(), t.now().Add(ticketLife)
	if l := p.Limits; l != nil && !l.Expires.IsZero() && l.Expires.Before(end) {
		end = l.Expires
	}
	b := make([]byte, 0, ticketExpiry+len(who)+1+len(urls)*ticketTag+ticketMAC)
	b = binary.BigEndian.AppendUint64(b, uint64(end.Unix()))
	b = append(b, who...)
	b = append(b, 0)
	for _, u := range urls {
		target, ok := ticketTarget(u)
		if !ok {
			return "", false
		}
		b = append(b, t.tag(use, target)...)
	}
	b = append(b, t.mac("ticket", b)...)
	return base64.RawURLEncoding.EncodeToString(b), true
}

// ticketUse is what a ticket is good for.
type ticketUse string

const (
	forUpload   ticketUse = "upload"
	forDownload ticketUse = "download"
)

// Verify returns whose ticket it is, provided that it is ours, still good, and made for that use of
// the target: host, path and query as the client sent them. Every other case is one error: which it
// was is nobody's business.
func (t *Tickets) Verify(ticket string, use ticketUse, target string) (iam.PrincipalRef, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(ticket)
	if err != nil || len(b) < ticketExpiry+1+ticketTag+ticketMAC {
		return iam.PrincipalRef{}, errTicket
	}
	payload, mac := b[:len(b)-ticketMAC], b[len(b)-ticketMAC:]
	if !hmac.Equal(mac, t.mac("ticket", payload)) {
		return iam.PrincipalRef{}, errTicket
	}
	expiry, rest := binary.BigEndian.Uint64(payload), payload[ticketExpiry:]
	who, tags, _ := strings.Cut(string(rest), "\x00")
	if uint64(t.now().Unix()) >= expiry || !t.holds(tags, use, target) {
		return iam.PrincipalRef{}, errTicket
	}
	ref, err := iam.ParsePrincipalRef(who)
	if err != nil || ref.ID == "" {
		return iam.PrincipalRef{}, errTicket
	}
	return ref, nil
}

// present finds the ticket of a request and verifies it. A download's ticket is taken out of the
// query, so that the server sees the URL that it signed. Without a ticket the reference names nobody.
func (t *Tickets) present(r *http.Request) (iam.PrincipalRef, error) {
	switch r.Method {
	case http.MethodPut:
		if tickets := r.Header[TicketHeader]; len(tickets) == 1 {
			return t.Verify(tickets[0], forUpload, r.Host+r.URL.RequestURI())
		}
	case http.MethodGet, http.MethodHead:
		query, ticket, ok := cutTicket(r.URL.RawQuery)
		if ok {
			r.URL.RawQuery = query
			r.RequestURI = r.URL.RequestURI()
			return t.Verify(ticket, forDownload, r.Host+r.RequestURI)
		}
	}
	return iam.PrincipalRef{}, nil
}

// ticketParameter carries a download's ticket, as the last parameter of the query.
const ticketParameter = "wandb-gateway-ticket="

// withTicket adds a download's ticket to a URL.
func withTicket(url, ticket string) string {
	separator := "?"
	if strings.Contains(url, "?") {
		separator = "&"
	}
	return url + separator + ticketParameter + ticket
}

// cutTicket takes a download's ticket out of a query.
func cutTicket(query string) (rest, ticket string, ok bool) {
	i := strings.LastIndex(query, ticketParameter)
	if i < 0 || i > 0 && query[i-1] != '&' {
		return query, "", false
	}
	return query[:max(0, i-1)], query[i+len(ticketParameter):], true
}

// holds reports whether one of the tags is that of the target.
func (t *Tickets) holds(tags string, use ticketUse, target string) bool {
	want := t.tag(use, target)
	for ; len(tags) >= ticketTag; tags = tags[ticketTag:] {
		if hmac.Equal([]byte(tags[:ticketTag]), want) {
			return true
		}
	}
	return false
}

var errTicket = &iam.Error{
	Kind: iam.KindUnauthenticated, Reason: ReasonBadTicket,
	Message: "This file's ticket is not valid for this URL, or is older than 24 hours. Start the upload or download again; `wandb sync` sends what is missing.",
}

// ticketTarget reduces an absolute URL to what a request for it looks like: host and request
// target. The scheme is left out, for TLS may end before us.
func ticketTarget(absolute string) (string, bool) {
	u, err := url.Parse(absolute)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" {
		return "", false
	}
	return u.Host + u.RequestURI(), true
}

func (t *Tickets) tag(use ticketUse, target string) []byte {
	return t.mac(string(use), []byte(target))[:ticketTag]
}

// mac authenticates b for one purpose, so that a tag can never stand in for a signature.
func (t *Tickets) mac(purpose string, b []byte) []byte {
	h := hmac.New(sha256.New, t.key[:])
	h.Write([]byte(purpose))
	h.Write([]byte{0})
	h.Write(b)
	return h.Sum(nil)
}
