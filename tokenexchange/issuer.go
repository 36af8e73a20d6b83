package tokenexchange

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/keys/jws"
	"github.com/wandb-gateway/wandb-gateway/internal/keys/remote"
)

// TrustedIssuer says that assertions of an issuer count, and how they are read (FED-1 to FED-6).
type TrustedIssuer struct {
	// URL is the issuer as it stands in the claim `iss`, compared byte for byte.
	URL string `json:"url"`
	// Audiences are the values of `aud` of which an assertion must have one. Empty stands for the
	// organization's name and `wandb` (FED-22, FED-23).
	Audiences []string `json:"audiences,omitempty"`
	// Algorithms are those that its keys may sign with. Empty stands for all asymmetric ones, each key
	// only with its own.
	Algorithms []jws.Algorithm `json:"algorithms,omitempty"`
	// Subject says which claim tells whom an assertion is about: empty for `sub`, which is a person's
	// e-mail address (FED-21) or a service account's subject; `email` if people are numbered in `sub`,
	// whose verified claim `email` then counts; or `claim NAME`.
	Subject string `json:"subject,omitempty"`
	// Preset is what kind of workloads the issuer vouches for; empty for none in particular.
	Preset string `json:"preset,omitempty"`
	// KeysURL is where its key set is, for an issuer without a discovery document.
	KeysURL string `json:"keys_url,omitempty"`
	// Keys is its key set itself (RFC 7517 section 5), for a site that cannot reach the issuer.
	Keys json.RawMessage `json:"keys,omitempty"`
	// Roots are the certificates to trust for it in place of the system's, in PEM.
	Roots string `json:"roots,omitempty"`
}

// Bounds of a trusted issuer.
const (
	maxAudiences     = 32
	maxAudienceBytes = 1024
	maxKeysBytes     = 256 << 10
)

// Check reports what is wrong with the issuer, without asking anybody.
func (t *TrustedIssuer) Check() error {
	if err := remote.ValidIssuerURL(t.URL); err != nil {
		return err
	}
	if t.KeysURL != "" {
		if err := remote.ValidKeysURL(t.KeysURL); err != nil {
			return err
		}
	}
	if len(t.Audiences) > maxAudiences {
		return iam.Invalidf("the issuer %s has %d audiences, and may have %d", t.URL, len(t.Audiences), maxAudiences)
	}
	for _, audience := range t.Audiences {
		if audience == "" || len(audience) > maxAudienceBytes || strings.ContainsAny(audience, "*") {
			return iam.Invalidf("the issuer %s: the audience %.80q is not a plain text of 1 to %d bytes; audiences are compared exactly, without wildcards", t.URL, audience, maxAudienceBytes)
		}
	}
	for _, algorithm := range t.Algorithms {
		if _, err := jws.ParseAlgorithm(string(algorithm)); err != nil {
			return err
		}
	}
	if t.KeysURL != "" && len(t.Keys) > 0 {
		return iam.Invalidf("the issuer %s has its keys and an address of its keys; keep one", t.URL)
	}
	if _, err := t.pinned(); err != nil {
		return err
	}
	if _, err := t.roots(); err != nil {
		return err
	}
	if err := t.checkPreset(); err != nil {
		return err
	}
	return t.checkSubject()
}

// checkPreset holds the issuer to what its preset knows.
func (t *TrustedIssuer) checkPreset() error {
	if t.Preset != "" {
		p, err := findPreset(t.Preset)
		if err != nil {
			return err
		}
		onThisMachine := strings.HasPrefix(t.URL, "http://") // which Check lets pass on loopback alone
		if !p.isOf(t.URL) && !onThisMachine {
			return iam.Invalidf("preset %s is not for the issuer %s: %s", p.name, t.URL, p.issuer)
		}
	}
	return nil
}

// bySubjectEmail is the Subject that goes on to the verified address where `sub` is none.
const bySubjectEmail = "email"

// subjectClaim is the claim that says whom an assertion is about.
func (t *TrustedIssuer) subjectClaim() string {
	if claim, ok := strings.CutPrefix(t.Subject, "claim "); ok {
		return claim
	}
	return "sub"
}

func (t *TrustedIssuer) checkSubject() error {
	claim, ok := strings.CutPrefix(t.Subject, "claim ")
	switch {
	case t.Subject == "" || t.Subject == bySubjectEmail:
		return nil
	case !ok || claim == "" || strings.Contains(claim, " "):
		return iam.Invalidf("the issuer %s: subject %.80q is neither `email` nor `claim NAME`", t.URL, t.Subject)
	}
	return checkSubjectClaim(t.preset(), claim)
}

// preset returns what is known of the issuer's workloads: the preset that was named, else the one that
// its address implies, because an issuer that all the world shares stays shared without being told so.
func (t *TrustedIssuer) preset() *preset {
	if t.Preset != "" {
		p, _ := findPreset(t.Preset)
		return p
	}
	return impliedPreset(t.URL)
}

// forWorkloads reports whether the issuer vouches for workloads alone, never for people.
func (t *TrustedIssuer) forWorkloads() bool { return t.Preset != "" }

// allowed are the algorithms that count for the issuer; nil for all.
func (t *TrustedIssuer) allowed() []jws.Algorithm {
	if len(t.Algorithms) > 0 {
		return t.Algorithms
	}
	if p := t.preset(); p != nil {
		return p.algorithms
	}
	return nil
}

// accepts reports whether one of the audiences is one of those wanted. organization stands for the
// default.
func (t *TrustedIssuer) accepts(audiences []string, organization string) bool {
	for _, audience := range audiences {
		if len(t.Audiences) > 0 {
			if slices.Contains(t.Audiences, audience) {
				return true
			}
			continue
		}
		if audience == organization || audience == commonAudience {
			return true
		}
	}
	return false
}

// commonAudience is the audience that every deployment of one organization accepts (FED-23).
const commonAudience = "wandb"

// pinned returns the key set that stands in the configuration, nil if it is fetched.
func (t *TrustedIssuer) pinned() (*jws.KeySet, error) {
	if len(t.Keys) == 0 {
		return nil, nil
	}
	if len(t.Keys) > maxKeysBytes {
		return nil, iam.Invalidf("the key set of the issuer %s has %d bytes, and may have %d", t.URL, len(t.Keys), maxKeysBytes)
	}
	set, ignored, err := jws.ParseKeySet(t.Keys)
	if err != nil {
		return nil, iam.Invalidf("the key set of the issuer %s cannot be read: %v; save what its jwks_uri answers", t.URL, err)
	}
	if set.Len() == 0 {
		return nil, iam.Invalidf("the key set of the issuer %s has no key that can verify: %s", t.URL, strings.Join(ignored, "; "))
	}
	return set, nil
}

func (t *TrustedIssuer) roots() (*x509.CertPool, error) {
	if t.Roots == "" {
		return nil, nil
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(t.Roots)) {
		return nil, iam.Invalidf("the issuer %s: tls_ca holds no certificate in PEM", t.URL)
	}
	return pool, nil
}

// source tells apart the ways in which keys are had: issuers with equal sources share one key set.
func (t *TrustedIssuer) source() string {
	h := sha256.New()
	for _, part := range []string{t.URL, t.KeysURL, string(t.Keys), t.Roots} {
		var length [4]byte
		length[0], length[1], length[2], length[3] = byte(len(part)>>24), byte(len(part)>>16), byte(len(part)>>8), byte(len(part))
		h.Write(length[:])
		h.Write([]byte(part))
	}
	return hex.EncodeToString(h.Sum(nil))
}
