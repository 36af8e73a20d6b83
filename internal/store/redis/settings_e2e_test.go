//go:build e2e

package redis

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/store"
	"github.com/wandb-gateway/wandb-gateway/internal/store/redis/redistest"
	"github.com/wandb-gateway/wandb-gateway/internal/store/storetest"
)

// TestSettings: what of a server's settings would lose records is found at start and named.
func TestSettings(t *testing.T) {
	for name, test := range map[string]struct {
		settings []string
		refused  string // part of the error, "" when it opens
		warnings []string
	}{
		"good":                           {nil, "", nil},
		"snapshots alone":                {[]string{"appendonly no", "save 60 1"}, "", nil},
		"nothing on disk":                {[]string{"appendonly no"}, "", []string{"keeps nothing on disk"}},
		"allkeys-lru":                    {[]string{"maxmemory-policy allkeys-lru"}, "noeviction", nil},
		"allkeys-random":                 {[]string{"maxmemory-policy allkeys-random", "maxmemory 100mb"}, "allkeys-random", nil},
		"volatile-ttl":                   {[]string{"maxmemory-policy volatile-ttl"}, "noeviction", nil},
		"volatile-lfu":                   {[]string{"maxmemory-policy volatile-lfu"}, "noeviction", nil},
		"a replica":                      {[]string{"replicaof 127.0.0.1 1"}, "replica", nil},
		"too few databases":              {[]string{"databases 1"}, "DB index", nil},
		"CONFIG closed":                  {[]string{`rename-command CONFIG ""`}, "", nil},
		"CONFIG closed, nothing on disk": {[]string{`rename-command CONFIG ""`, "appendonly no"}, "", []string{"does not tell whether it keeps"}},
		"CONFIG closed, evicting":        {[]string{`rename-command CONFIG ""`, "maxmemory-policy allkeys-lfu"}, "noeviction", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t, test.settings...)
			url := "redis://" + server.Address
			if name == "too few databases" {
				url += "/5"
			}
			s, err := Open(Config{URL: url, OpenTimeout: 2 * time.Second})
			if test.refused != "" {
				if err == nil {
					s.Close()
					t.Fatal("it opens")
				}
				if !strings.Contains(err.Error(), test.refused) || !strings.Contains(err.Error(), server.Address) {
					t.Errorf("the error is %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			wantWarnings(t, s, test.warnings...)
		})
	}
}

func wantWarnings(t *testing.T, s *Store, want ...string) {
	t.Helper()
	got := s.Warnings()
	if len(got) != len(want) {
		t.Errorf("the warnings are %q, want %q", got, want)
		return
	}
	for i := range want {
		if !strings.Contains(got[i], want[i]) {
			t.Errorf("the warning is %q, want %q", got[i], want[i])
		}
	}
}

// TestReplicasWarn: a master that acknowledges what no replica has is named.
func TestReplicasWarn(t *testing.T) {
	group := redistest.StartGroup(t)
	wantWarnings(t, open(t, Config{URL: group.URL()}), "min-replicas-to-write")
	_, err := Open(Config{URL: "redis://" + group.Sentinels[0].Address})
	if iam.KindOf(err) != iam.KindInvalid || !strings.Contains(err.Error(), "redis+sentinel://"+group.Sentinels[0].Address) {
		t.Errorf("a Sentinel named as a server: %v", err)
	}
	_, err = Open(Config{URL: strings.Replace(group.URL(), "mymaster", "other", 1), OpenTimeout: time.Second})
	if err == nil || !strings.Contains(err.Error(), "other") {
		t.Errorf("a master of another name: %v", err)
	}
}

// TestDefaultUserOff: a server whose default user is switched off brings back after a restart what was written,
// or is named for losing it.
func TestDefaultUserOff(t *testing.T) {
	for rights, kept := range map[string]bool{"off": false, "off +@all ~* &*": true, "off +@all ~other:*": false} {
		t.Run(rights, func(t *testing.T) {
			server := redistest.Start(t, "user default "+rights, "user gateway on >secret ~* &* +@all")
			cfg := Config{URL: "redis://" + server.Address, Username: "gateway", Password: iam.NewSecret("secret")}
			s := open(t, cfg)
			put(t, s, "acme/a")
			if kept {
				wantWarnings(t, s)
			} else {
				wantWarnings(t, s, "user default off +@all")
			}
			server.Kill()
			server.Run()
			if _, err := open(t, cfg).Get(t.Context(), "acme/a"); (err == nil) != kept {
				t.Errorf("after a restart: %v", err)
			}
		})
	}
}

// TestUser: the rights that the documentation names are enough for the whole suite, and each of them
// that lacks is found at start.
func TestUser(t *testing.T) {
	const password = "p@ss/word#1"
	server := redistest.Start(t)
	rights := []string{"~wandb-gateway:*", "&wandb-gateway:*", "+@read", "+@write", "+@scripting", "+@pubsub", "+@connection", "+info", "+config|get", "+acl|dryrun", "+cluster", "+time"}
	user := func(rights ...string) {
		server.Do(append([]string{"ACL", "SETUSER", "gateway", "reset", "on", ">" + password, "-@all"}, rights...)...)
	}
	cfg := Config{URL: "redis://" + server.Address, Username: "gateway", Password: iam.NewSecret(password), OpenTimeout: 2 * time.Second}
	user(rights...)
	storetest.Run(t, func(t testing.TB) store.Store {
		server.Do("FLUSHALL")
		s := open(t, cfg)
		if len(s.Warnings()) > 0 {
			t.Errorf("the warnings are %q", s.Warnings())
		}
		return s
	})
	for i, lacking := range rights {
		t.Run("without "+lacking, func(t *testing.T) {
			user(append(append([]string{}, rights[:i]...), rights[i+1:]...)...)
			s, err := Open(cfg)
			switch lacking {
			case "+info", "+cluster": // CONFIG tells the same
				if err != nil {
					t.Fatal(err)
				}
				wantWarnings(t, s)
				s.Close()
			case "+config|get":
				if err != nil {
					t.Fatal(err)
				}
				wantWarnings(t, s)
				s.Close()
			case "+acl|dryrun":
				if err != nil {
					t.Fatal(err)
				}
				wantWarnings(t, s, "does not tell what its user default may do")
				s.Close()
			case "+time":
				if err != nil {
					t.Fatal(err)
				}
				wantWarnings(t, s, "+time")
				measuresWithoutTime(t, s)
				s.Close()
			case "+@connection": // HELLO and AUTH are always allowed, and PING is asked for
				if err == nil {
					s.Close()
				}
			default:
				if err == nil {
					s.Close()
					t.Fatal("it opens")
				}
				if strings.Contains(err.Error(), password) || !strings.Contains(err.Error(), "&PREFIX*") {
					t.Errorf("the error is %v", err)
				}
			}
		})
	}
	t.Run("another prefix", func(t *testing.T) {
		user(rights...)
		other := cfg
		other.Prefix = "other:"
		if s, err := Open(other); err == nil {
			s.Close()
			t.Error("it opens")
		}
	})
	t.Run("neither INFO nor CONFIG", func(t *testing.T) {
		user(rights[:7]...)
		wantWarnings(t, open(t, cfg), "maxmemory-policy", "does not tell whether", "+time")
	})
}

// measuresWithoutTime: commits are made and told as ever, without a time.
func measuresWithoutTime(t *testing.T, s *Store) {
	t.Helper()
	changes := watchSpace(t, s)
	revision := put(t, s, "acme/timeless")
	for change := next(t, changes, 5*time.Second); ; change = next(t, changes, 5*time.Second) {
		if change.Revision >= revision {
			if change.Gap || !change.Committed.IsZero() {
				t.Errorf("told is %+v", change)
			}
			return
		}
	}
}

// TestTLS: the server's certificate is checked, against the file that is named.
func TestTLS(t *testing.T) {
	dir := t.TempDir()
	roots := certify(t, dir)
	server := redistest.Start(t)
	port := redistest.FreePort(t)
	server.Do("CONFIG", "SET", "tls-port", portText(port), "tls-cert-file", filepath.Join(dir, "cert.pem"), "tls-key-file", filepath.Join(dir, "key.pem"),
		"tls-ca-cert-file", filepath.Join(dir, "cert.pem"), "tls-auth-clients", "no")
	url := "rediss://localhost:" + portText(port)
	s := open(t, Config{URL: url, Roots: roots})
	if _, err := s.Commit(t.Context(), store.Write{Key: "acme/a", Value: []byte("x")}); err != nil {
		t.Error(err)
	}
	for name, cfg := range map[string]Config{
		"the system's roots": {URL: url},
		"another name":       {URL: "rediss://127.0.0.1:" + portText(port), Roots: roots},
	} {
		s, err := Open(cfg)
		if err == nil {
			s.Close()
			t.Errorf("%s: it opens", name)
			continue
		}
		if e, ok := errors.AsType[*iam.Error](err); !ok || !strings.Contains(e.Message, "tls_ca") || !definite(e.Err) {
			t.Errorf("%s: %v, which is tried again or says no remedy", name, err)
		}
	}
}

func portText(port int) string { return big.NewInt(int64(port)).String() }

// certify writes a certificate for localhost, and returns who is to trust it.
func certify(t *testing.T, dir string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"localhost"}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: der}, "key.pem": {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(certificate)
	return roots
}
