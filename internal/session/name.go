package session

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"hash"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

const (
	valueBytes  = 32 // of a cookie's value
	valueLength = 43 // the same in base64url without padding
	idBytes     = 8
	idLength    = 2 * idBytes
	// indexBytes of a hash are enough: nobody can steer it, and what an index finds is compared with
	// what was looked for.
	indexBytes = 12
)

// strict refuses unused bits that are set: two spellings of one value would be two cache entries.
var strict = base64.RawURLEncoding.Strict()

// names are the beginnings of records' keys.
type names struct {
	session string // "<space>/session/"
	hint    string
	index   string
	once    string
}

func newNames(space string) names {
	return names{
		session: space + "/session/",
		hint:    space + "/session_hint/",
		index:   space + "/session_of/",
		once:    space + "/session_once/",
	}
}

// purpose keeps what is hashed under the one key apart (threats K09).
type purpose byte

const (
	cookieHash purpose = iota + 1
	hintKey
	ofOwner
	ofProviderSession
	ofProviderSubject
	onceHash
)

// macState is a keyed hash that is reset instead of made anew, with room for what goes in and comes
// out.
type macState struct {
	mac  hash.Hash
	text []byte
	raw  [valueBytes + 1]byte // its first byte is the purpose
	sum  [sha256.Size]byte
}

func newMacState(key [32]byte) *macState {
	return &macState{mac: hmac.New(sha256.New, key[:])}
}

// read decodes the value of a cookie into m.raw. It reports false for what can be no such value.
func (m *macState) read(value string) bool {
	if len(value) != valueLength {
		return false
	}
	m.text = append(m.text[:0], value...)
	n, err := strict.Decode(m.raw[1:], m.text)
	clear(m.text)                        // no copy of the value stays behind in the pool
	return err == nil && n == valueBytes // fewer: line breaks, which the decoder skips
}

// hashRaw sets m.sum to the hash of what m.raw holds.
func (m *macState) hashRaw(p purpose) {
	m.raw[0] = byte(p)
	m.mac.Reset()
	m.mac.Write(m.raw[:])
	m.mac.Sum(m.sum[:0])
}

func (s *Sessions) takeMac() *macState { return s.macs.Get().(*macState) }

func (s *Sessions) giveMac(m *macState) {
	clear(m.raw[:])
	s.macs.Put(m)
}

// keyOf returns the key of the record of a cookie's session: its hash, of which the first 16 hex
// digits are the session's public id. Looking it up by equality leaks nothing about values, because
// who does not know HMACKey cannot steer the hash. It reports false for what can be no value.
func (s *Sessions) keyOf(secret iam.Secret) (key string, ok bool) {
	m := s.takeMac()
	if ok = m.read(secret.Reveal()); ok {
		m.hashRaw(cookieHash)
		m.text = append(m.text[:0], s.names.session...)
		m.text = hex.AppendEncode(m.text, m.sum[:idBytes])
		m.text = base64.RawURLEncoding.AppendEncode(m.text, m.sum[idBytes:])
		key = string(m.text)
	}
	s.giveMac(m)
	return key, ok
}

// hintKeyOf returns the key under which the ID token of a cookie's session is sealed.
func (s *Sessions) hintKeyOf(secret iam.Secret) (key [32]byte, ok bool) {
	m := s.takeMac()
	if ok = m.read(secret.Reveal()); ok {
		m.hashRaw(hintKey)
		key = m.sum
		clear(m.sum[:])
	}
	s.giveMac(m)
	return key, ok
}

// hashOf returns a hash of parts for the key of a record. Every part goes in behind its length, so
// that no two lists of parts are the same text.
func (s *Sessions) hashOf(p purpose, parts ...string) string {
	m := s.takeMac()
	defer s.giveMac(m)
	m.text = append(m.text[:0], byte(p))
	for _, part := range parts {
		m.text = binary.AppendUvarint(m.text, uint64(len(part)))
		m.text = append(m.text, part...)
	}
	m.mac.Reset()
	m.mac.Write(m.text)
	m.mac.Sum(m.sum[:0])
	return base64.RawURLEncoding.EncodeToString(m.sum[:indexBytes])
}

func (s *Sessions) sessionsOf(owner iam.PrincipalRef) string {
	return s.names.index + s.hashOf(ofOwner, owner.String()) + "/"
}

func (s *Sessions) sessionsOfProvider(issuer, sid string) string {
	return s.names.index + s.hashOf(ofProviderSession, issuer, sid) + "/"
}

func (s *Sessions) sessionsOfSubject(issuer, subject string) string {
	return s.names.index + s.hashOf(ofProviderSubject, issuer, subject) + "/"
}

// newValue returns the value of a new cookie.
func newValue() iam.Secret {
	var raw [valueBytes]byte
	rand.Read(raw[:]) // never fails (crypto/rand)
	return iam.NewSecret(base64.RawURLEncoding.EncodeToString(raw[:]))
}

// ValidID reports whether s can be the id of a session: 16 lower-case hex digits.
func ValidID(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return len(s) == idLength
}
