package session

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/store"
	"github.com/wandb-gateway/wandb-gateway/internal/untrusted"
)

// Method says how somebody signed in.
type Method string

// The methods.
const (
	MethodOIDC    Method = "oidc"
	MethodLDAP    Method = "ldap"
	MethodRestore Method = "restore" // LOCAL_RESTORE, for those who are locked out
)

// Valid reports whether m is one of the methods.
func (m Method) Valid() bool {
	switch m {
	case MethodOIDC, MethodLDAP, MethodRestore:
		return true
	default:
		return false
	}
}

// Session is the signed-in state of one browser. Sessions are shared between requests: nobody changes
// one.
type Session struct {
	// ID names the session in lists: 16 hex digits. It is no credential.
	ID        string
	Principal iam.PrincipalRef
	// Epoch is the principal's at sign-in (see Holds).
	Epoch uint64
	// Created and Expires are the ends of the session's life; at Expires it is over.
	Created, Expires time.Time
	// Issuer and Subject are iss and sub at the authority that vouched for the person; ProviderSession
	// is the sid of its ID token (OpenID Connect Front-Channel Logout 1.0 section 3). Any may be empty.
	Issuer, Subject, ProviderSession string
	Method                           Method
	// Client is the address that signed in, UserAgent what it said of itself: printable ASCII.
	Client    netip.Addr
	UserAgent string

	key string // of its record
}

// Holds reports whether the session counts for its principal as that is now. A session counts only
// while its epoch is the principal's: deactivation raises the latter, and so ends all sessions for
// good, even one that is being made at the same moment. Whether the principal is active is another
// question.
func (s *Session) Holds(p *iam.Principal) bool {
	return p.Ref == s.Principal && p.Epoch == s.Epoch
}

// live reports whether the session has not expired.
func (s *Session) live(now time.Time) bool { return now.Before(s.Expires) }

// record is how a session is stored. There are many: its names are short. More members may come: what
// is absent means "none". Times are milliseconds since 1970.
type record struct {
	Principal iam.PrincipalRef `json:"who"`
	Epoch     uint64           `json:"epoch,omitempty"`
	Created   int64            `json:"from"`
	Expires   int64            `json:"to"`
	Issuer    string           `json:"iss,omitempty"`
	Subject   string           `json:"sub,omitempty"`
	Provider  string           `json:"sid,omitempty"`
	Method    Method           `json:"by"`
	Client    netip.Addr       `json:"ip,omitzero"`
	UserAgent string           `json:"ua,omitempty"`
}

// decode reads a session's record. Damage that the store's checksums did not see is the store's
// failure, not the caller's.
func decode(r store.Record) (*Session, error) {
	var v record
	if err := json.Unmarshal(r.Value, &v); err != nil {
		return nil, damaged(fmt.Errorf("decoding record %q: %w", r.Key, err))
	}
	hash := r.Key[strings.LastIndexByte(r.Key, '/')+1:]
	if len(hash) < idLength || v.Principal.ID == "" {
		return nil, damaged(fmt.Errorf("record %q is no session", r.Key))
	}
	return &Session{
		ID: hash[:idLength], key: r.Key,
		Principal: v.Principal, Epoch: v.Epoch,
		Created: time.UnixMilli(v.Created).UTC(), Expires: time.UnixMilli(v.Expires).UTC(),
		Issuer: v.Issuer, Subject: v.Subject, ProviderSession: v.Provider,
		Method: v.Method, Client: v.Client, UserAgent: v.UserAgent,
	}, nil
}

const (
	// maxNameBytes bounds what an authority calls somebody: OpenID Connect Core section 2 allows 255
	// for a subject, distinguished names are longer.
	maxNameBytes = 1024
	// maxAgentBytes is as much of a browser's own description as tells browsers apart.
	maxAgentBytes = 128
	maxIDBytes    = 128
)

// newRecord returns what is stored of a new session.
func (s *Sessions) newRecord(n NewSession) (record, error) {
	if n.Principal.Kind != iam.KindUser || n.Principal.ID == "" || len(n.Principal.ID) > maxIDBytes {
		return record{}, iam.Invalidf("only a person can have a session: service accounts use API keys") // K14
	}
	if !n.Method.Valid() {
		return record{}, iam.Invalidf("%q is no way to sign in", untrusted.Clip(string(n.Method)))
	}
	for _, v := range []struct{ what, value string }{
		{"issuer", n.Issuer}, {"subject", n.Subject}, {"session id", n.ProviderSession},
	} {
		if !validName(v.value) {
			return record{}, iam.Invalidf("the sign-in authority's %s %q is not plain text of at most %d bytes", v.what, untrusted.Clip(v.value), maxNameBytes)
		}
	}
	if n.Issuer == "" && (n.Subject != "" || n.ProviderSession != "") {
		return record{}, iam.Invalidf("a subject or session of a sign-in authority means nothing without its issuer")
	}
	now := s.now()
	return record{
		Principal: n.Principal, Epoch: n.Epoch,
		Created: now.UnixMilli(), Expires: now.Add(s.length).UnixMilli(),
		Issuer: n.Issuer, Subject: n.Subject, Provider: n.ProviderSession,
		Method: n.Method, Client: n.Client.Unmap().WithZone(""), UserAgent: printable(n.UserAgent),
	}, nil
}

// validName refuses what would not be read back as it was written, and what would break a log line.
func validName(s string) bool {
	return len(s) <= maxNameBytes && utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// printable returns as much of s as is kept: other characters than printable ASCII become a question
// mark (threats V02).
func printable(s string) string {
	s = s[:min(len(s), maxAgentBytes)]
	b := []byte(s)
	for i, c := range b {
		if c < ' ' || c > '~' {
			b[i] = '?'
		}
	}
	return string(b)
}
