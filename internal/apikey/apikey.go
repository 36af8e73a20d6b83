// Package apikey knows what an API key looks like: it mints new ones, and tells from a credential's
// own form whether it can be one of ours. Who owns a key is recorded in package directory.
//
// A minted key is "wbg-" and 40 lower-case hex digits (design section 6): 128 random bits, then 32
// bits of checksum. Old and new W&B clients accept that form (a prefix, a dash, at least 40 of
// [A-Za-z0-9_-], SCOPE-16), scanners for leaked secrets recognise it, and a mistyped one is refused
// without asking the store.
package apikey

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"strings"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

const (
	prefix       = "wbg-"
	randomBytes  = 16
	randomDigits = 2 * randomBytes
	sumDigits    = 8
	mintedLength = len(prefix) + randomDigits + sumDigits
	idDigits     = 8
)

// Bounds on keys of any form. Shorter ones could be guessed, longer ones are no keys.
const (
	MinBytes = 8
	MaxBytes = 512
)

// Mint returns a fresh key and its id. The key is shown to its owner once and never kept.
func Mint() (iam.Secret, iam.KeyID) {
	var b [randomBytes]byte
	rand.Read(b[:]) // never fails (crypto/rand)
	random := hex.EncodeToString(b[:])
	return iam.NewSecret(prefix + random + fmt.Sprintf("%08x", checksum(random))), iam.KeyID(random[:idDigits])
}

// ID returns the id of a key of any form, by which people name it in lists and commands: the first
// 8 digits of a minted key, the first 8 hex digits of the SHA-256 of any other (design section 6).
func ID(key iam.Secret) iam.KeyID {
	s := key.Reveal()
	if FormOf(s) == Minted {
		return iam.KeyID(s[len(prefix) : len(prefix)+idDigits])
	}
	sum := sha256.Sum256([]byte(s))
	return iam.KeyID(hex.EncodeToString(sum[:idDigits/2]))
}

// ValidID reports whether s can be the id of a key: 8 lower-case hex digits.
func ValidID(s string) bool { return len(s) == idDigits && lowerHex(s) }

// Form is what a credential is, as far as its own text tells.
type Form uint8

// The forms. Only Minted and Foreign are worth a look-up.
const (
	Malformed     Form = iota // empty, shorter or longer than the bounds, or not printable ASCII
	Minted                    // ours, and the checksum holds
	MintedDamaged             // begins like ours but is not: certainly unknown
	Foreign                   // any other opaque key: one that was imported, or one of the W&B server
	JWT                       // three base64url parts: an access token or an assertion (SCOPE-16)
)

// FormOf tells the form of a credential. It reads the text only and keeps nothing of it.
func FormOf(s string) Form {
	switch {
	case Ours(s):
		if minted(s) {
			return Minted
		}
		return MintedDamaged
	case jwtShaped(s): // before the bounds: assertions are longer than keys
		return JWT
	case len(s) < MinBytes || len(s) > MaxBytes || !printable(s):
		return Malformed
	}
	return Foreign
}

// Ours reports whether the form is Minted or MintedDamaged: no other deployment can have issued the key.
func Ours(s string) bool { return strings.HasPrefix(s, prefix) && len(s) <= MaxBytes }

func minted(s string) bool {
	if len(s) != mintedLength || !lowerHex(s[len(prefix):]) {
		return false
	}
	body := s[len(prefix):]
	sum := checksum(body[:randomDigits])
	for i := range sumDigits {
		if body[randomDigits+i] != sumDigit(sum, i) {
			return false
		}
	}
	return true
}

// checksum is CRC-32 (IEEE) of the digits. It guards against typing errors, not against people:
// anybody can compute it. hash/crc32 would do, at the price of an allocation on every request.
func checksum(random string) uint32 {
	sum := ^uint32(0)
	for i := range len(random) {
		sum = crc32.IEEETable[byte(sum)^random[i]] ^ sum>>8
	}
	return ^sum
}

func sumDigit(sum uint32, i int) byte { return "0123456789abcdef"[sum>>(28-4*i)&0xf] }

func jwtShaped(s string) bool {
	dots, part := 0, 0
	for i := range len(s) {
		switch c := s[i]; {
		case c == '.':
			if part == 0 {
				return false
			}
			dots, part = dots+1, 0
		case '0' <= c && c <= '9', 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', c == '-', c == '_':
			part++
		default:
			return false
		}
	}
	return dots == 2 && part > 0
}

func printable(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

func lowerHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return s != ""
}
