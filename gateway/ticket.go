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
// A ticket is bound to PUT, to the exact URLs it was made for and to the principal, and is good for
// 24 h, as often as the client retries (design section 6). It is
//
//	base64url(expiry . principal . 0x00 . one tag for each URL . MAC over all before)
//
// where a tag is a MAC over the URL, truncated. Being keyed, a tag cannot be searched for offline,
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

// Mint returns a ticket for PUTs of these URLs by the principal; false when there are none, or more
// than one header can carry.
func (t *Tickets) Mint(ref iam.PrincipalRef, urls []string) (string, bool) {
	if len(urls) == 0 || len(urls) > maxTicketURLs || ref.ID == "" {
		return "", false
	}
	who := ref.String()
	b := make([]byte, 0, ticketExpiry+len(who)+1+len(urls)*ticketTag+ticketMAC)
	b = binary.BigEndian.AppendUint64(b, uint64(t.now().Add(ticketLife).Unix()))
	b = append(b, who...)
	b = append(b, 0)
	for _, u := range urls {
		target, ok := ticketTarget(u)
		if !ok {
			return "", false
		}
		b = append(b, t.tag(target)...)
	}
	b = append(b, t.mac("ticket", b)...)
	return base64.RawURLEncoding.EncodeToString(b), true
}

// Verify returns whose ticket it is, provided that it is ours, still good, and made for this
// request. Every other case is one error: which it was is nobody's business.
func (t *Tickets) Verify(ticket string, r *http.Request) (iam.PrincipalRef, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(ticket)
	if err != nil || len(b) < ticketExpiry+1+ticketTag+ticketMAC {
		return iam.PrincipalRef{}, errTicket
	}
	payload, mac := b[:len(b)-ticketMAC], b[len(b)-ticketMAC:]
	if !hmac.Equal(mac, t.mac("ticket", payload)) {
		return iam.PrincipalRef{}, errTicket
	}
	expiry, rest := binary.BigEndian.Uint64(payload), payload[ticketExpiry:]
	if uint64(t.now().Unix()) >= expiry || r.Method != http.MethodPut {
		return iam.PrincipalRef{}, errTicket
	}
	who, tags, _ := strings.Cut(string(rest), "\x00")
	if !t.holds(tags, r.Host+r.URL.RequestURI()) {
		return iam.PrincipalRef{}, errTicket
	}
	ref, err := iam.ParsePrincipalRef(who)
	if err != nil || ref.ID == "" {
		return iam.PrincipalRef{}, errTicket
	}
	return ref, nil
}

// holds reports whether one of the tags is that of the target.
func (t *Tickets) holds(tags, target string) bool {
	want := t.tag(target)
	for ; len(tags) >= ticketTag; tags = tags[ticketTag:] {
		if hmac.Equal([]byte(tags[:ticketTag]), want) {
			return true
		}
	}
	return false
}

var errTicket = &iam.Error{
	Kind: iam.KindUnauthenticated, Reason: ReasonBadTicket,
	Message: "This upload's ticket is not valid for this URL, or is older than 24 hours. Start the upload again; `wandb sync` sends what is missing.",
}

// ticketTarget reduces an absolute URL to what a request for it looks like: host and request
// target. The scheme is left out, for TLS may end before us.
func ticketTarget(absolute string) (string, bool) {
	u, err := url.Parse(absolute)
	if err != nil || u.Host == "" || u.User != nil {
		return "", false
	}
	return u.Host + u.RequestURI(), true
}

func (t *Tickets) tag(target string) []byte { return t.mac("url", []byte(target))[:ticketTag] }

// mac authenticates b for one purpose, so that a tag can never stand in for a signature.
func (t *Tickets) mac(purpose string, b []byte) []byte {
	h := hmac.New(sha256.New, t.key[:])
	h.Write([]byte(purpose))
	h.Write([]byte{0})
	h.Write(b)
	return h.Sum(nil)
}
