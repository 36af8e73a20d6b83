package login

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"

	"github.com/go-json-experiment/json"

	"github.com/wandb-gateway/wandb-gateway/internal/session"
)

// seal keeps what a browser holds for the gateway from being read, changed, or used as something else.
type seal struct {
	aead  cipher.AEAD
	forms [32]byte
}

func newSeal(key [32]byte) *seal {
	sealing := derive(key, "sealed cookies")
	block, err := aes.NewCipher(sealing[:])
	if err != nil {
		panic(err) // only for keys of another length
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err) // only for other ciphers
	}
	return &seal{aead: aead, forms: derive(key, "forms")}
}

func derive(key [32]byte, purpose string) [32]byte {
	mac := hmac.New(sha256.New, key[:])
	mac.Write([]byte(purpose))
	return [32]byte(mac.Sum(nil))
}

// strict refuses unused bits that are set: a value has one spelling.
var strict = base64.RawURLEncoding.Strict()

// close returns v sealed for a cookie of that name, and whether the browser will keep it.
func (s *seal) close(name string, v any) (string, bool) {
	text, err := json.Marshal(v) // encoding/json makes six bytes of each & in an address
	if err != nil {
		return "", false
	}
	value := strict.EncodeToString(s.aead.Seal(nil, nil, text, []byte(name)))
	return value, len(name)+len(value) <= maxCookieBytes
}

// open reads what close made for a cookie of the same name.
func (s *seal) open(name, value string, v any) bool {
	if len(value) > maxCookieBytes {
		return false
	}
	sealed, err := strict.DecodeString(value)
	if err != nil {
		return false
	}
	text, err := s.aead.Open(nil, nil, sealed, []byte(name))
	return err == nil && json.Unmarshal(text, v) == nil
}

// token returns what a form of this browser, and of this session if there is one, has to carry.
func (s *seal) token(browser string, x *session.Session) string {
	mac := hmac.New(sha256.New, s.forms[:])
	mac.Write([]byte(browser + "\x00"))
	if x != nil {
		mac.Write([]byte(x.ID))
	}
	return strict.EncodeToString(mac.Sum(nil))
}

func (s *seal) validToken(token, browser string, x *session.Session) bool {
	return browser != "" && subtle.ConstantTimeCompare([]byte(token), []byte(s.token(browser, x))) == 1
}

// random returns 256 random bits in base64url.
func random() string {
	var b [32]byte
	rand.Read(b[:]) // never fails (crypto/rand)
	return strict.EncodeToString(b[:])
}
