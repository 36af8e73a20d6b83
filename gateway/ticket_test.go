package gateway

import (
	"encoding/base64"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

func testTickets(now time.Time) *Tickets {
	t := NewTickets([32]byte{1})
	t.now = func() time.Time { return now }
	return t
}

var alice = &iam.Principal{Ref: iam.UserID("usr_1").Ref()}

func TestTicketIsGoodForItsURLs(t *testing.T) {
	start := time.Unix(1_800_000_000, 0)
	tickets := testTickets(start)
	ticket, ok := tickets.Mint(forUpload, alice, []string{"https://gw.test/storage/a%20b?x=1&y=2", "https://gw.test:8443/storage/b"})
	if !ok {
		t.Fatal("not minted")
	}
	for _, tt := range []struct {
		name, method, url string
		after             time.Duration
		want              bool
	}{
		{"first", "PUT", "https://gw.test/storage/a%20b?x=1&y=2", 0, true},
		{"again, a day later", "PUT", "https://gw.test/storage/a%20b?x=1&y=2", 24*time.Hour - time.Second, true},
		{"second", "PUT", "https://gw.test:8443/storage/b", 0, true},
		{"plain http behind TLS", "PUT", "http://gw.test/storage/a%20b?x=1&y=2", 0, true},
		{"too late", "PUT", "https://gw.test/storage/a%20b?x=1&y=2", 24 * time.Hour, false},
		{"other method", "GET", "https://gw.test/storage/a%20b?x=1&y=2", 0, false},
		{"POST", "POST", "https://gw.test/storage/a%20b?x=1&y=2", 0, false},
		{"other file", "PUT", "https://gw.test/storage/c", 0, false},
		{"other query", "PUT", "https://gw.test/storage/a%20b?x=1&y=3", 0, false},
		{"no query", "PUT", "https://gw.test/storage/a%20b", 0, false},
		{"other spelling", "PUT", "https://gw.test/storage/a+b?x=1&y=2", 0, false},
		{"other host", "PUT", "https://evil.test/storage/a%20b?x=1&y=2", 0, false},
		{"other port", "PUT", "https://gw.test/storage/b", 0, false},
		{"climbing", "PUT", "https://gw.test/storage/x/../b", 0, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tickets.now = func() time.Time { return start.Add(tt.after) }
			r := httptest.NewRequest(tt.method, tt.url, nil)
			r.Header.Set(TicketHeader, ticket)
			ref, err := tickets.present(r)
			if tt.method != "PUT" {
				if ref.ID != "" {
					t.Errorf("counts for %s", tt.method)
				}
				return
			}
			if (err == nil) != tt.want {
				t.Fatalf("err = %v, want accepted %t", err, tt.want)
			}
			if tt.want && ref != alice.Ref {
				t.Errorf("principal %v", ref)
			}
			if !tt.want && iam.KindOf(err) != iam.KindUnauthenticated {
				t.Errorf("kind of %v", err)
			}
		})
	}
}

// TestTicketEndsWithTheKey: what a key that ends has asked for does not outlive it.
func TestTicketEndsWithTheKey(t *testing.T) {
	start := time.Unix(1_800_000_000, 0)
	for name, tt := range map[string]struct {
		limits *iam.KeyLimits
		life   time.Duration
	}{
		"no limits":       {nil, ticketLife},
		"another limit":   {&iam.KeyLimits{ReadOnly: true}, ticketLife},
		"ends in an hour": {&iam.KeyLimits{Expires: start.Add(time.Hour)}, time.Hour},
		"ends in a year":  {&iam.KeyLimits{Expires: start.Add(365 * 24 * time.Hour)}, ticketLife},
	} {
		tickets := testTickets(start)
		ticket, _ := tickets.Mint(forUpload, &iam.Principal{Ref: alice.Ref, Limits: tt.limits}, []string{"https://gw.test/a"})
		for after, want := range map[time.Duration]bool{tt.life - time.Second: true, tt.life: false} {
			tickets.now = func() time.Time { return start.Add(after) }
			if _, err := tickets.Verify(ticket, forUpload, "gw.test/a"); (err == nil) != want {
				t.Errorf("%s, after %s: %v, want it good: %t", name, after, err, want)
			}
		}
	}
}

// TestTicketCannotBeForged flips every bit of a ticket, cuts it at every length and tries the key of
// another deployment.
func TestTicketCannotBeForged(t *testing.T) {
	tickets := testTickets(time.Unix(1_800_000_000, 0))
	const r = "gw.test/a"
	ticket, _ := tickets.Mint(forUpload, alice, []string{"https://gw.test/a"})
	if _, err := tickets.Verify(ticket, forUpload, r); err != nil {
		t.Fatal(err)
	}
	raw, _ := base64.RawURLEncoding.DecodeString(ticket)
	for i := range len(raw) * 8 {
		forged := append([]byte(nil), raw...)
		forged[i/8] ^= 1 << (i % 8)
		if _, err := tickets.Verify(base64.RawURLEncoding.EncodeToString(forged), forUpload, r); err == nil {
			t.Fatalf("accepted with bit %d flipped", i)
		}
	}
	for i := range len(ticket) {
		if _, err := tickets.Verify(ticket[:i], forUpload, r); err == nil {
			t.Fatalf("accepted when cut to %d", i)
		}
	}
	other := NewTickets([32]byte{2})
	if _, err := other.Verify(ticket, forUpload, r); err == nil {
		t.Error("accepted by another deployment")
	}
}

// TestDownloadTicketStandsInTheURL: it is good for reading that URL, and the server sees the URL that
// it signed.
func TestDownloadTicketStandsInTheURL(t *testing.T) {
	tickets := testTickets(time.Unix(1_800_000_000, 0))
	for _, signed := range []string{"https://gw.test/storage/a%20b?file=x&sig=1", "https://gw.test/storage/a"} {
		ticket, ok := tickets.Mint(forDownload, alice, []string{signed})
		if !ok {
			t.Fatal("not minted")
		}
		u := withTicket(signed, ticket)
		for _, tt := range []struct {
			name, method, url string
			want              bool
		}{
			{"GET", "GET", u, true},
			{"HEAD", "HEAD", u, true},
			{"other file", "GET", strings.Replace(u, "storage", "vision", 1), false},
			{"something before it", "GET", strings.Replace(u, ticketParameter, "x=1&"+ticketParameter, 1), false},
			{"something behind it", "GET", u + "&x=1", false},
			{"twice", "GET", withTicket(u, ticket), false},
		} {
			t.Run(tt.name, func(t *testing.T) {
				r := httptest.NewRequest(tt.method, tt.url, nil)
				ref, err := tickets.present(r)
				if (err == nil && ref == alice.Ref) != tt.want {
					t.Fatalf("principal %v, error %v; want accepted %t", ref, err, tt.want)
				}
				if got := "https://gw.test" + r.URL.RequestURI(); tt.want && got != signed {
					t.Errorf("the server sees %s, and signed %s", got, signed)
				}
			})
		}
		if _, err := tickets.Verify(ticket, forUpload, strings.TrimPrefix(signed, "https://")); err == nil {
			t.Error("a download's ticket allows to write")
		}
		r := httptest.NewRequest("POST", u, nil)
		if ref, _ := tickets.present(r); ref.ID != "" {
			t.Error("counts for POST")
		}
	}
}

func TestMintRefusesWhatItCannotCarry(t *testing.T) {
	tickets := testTickets(time.Unix(1_800_000_000, 0))
	many := make([]string, maxTicketURLs+1)
	for i := range many {
		many[i] = "https://gw.test/" + strconv.Itoa(i)
	}
	for name, urls := range map[string][]string{
		"none": nil, "too many": many, "relative": {"/storage/a"}, "with user": {"https://a:b@gw.test/x"}, "not a URL": {"https://gw.test/%zz"},
	} {
		if _, ok := tickets.Mint(forUpload, alice, urls); ok {
			t.Errorf("%s: minted", name)
		}
	}
	if ticket, ok := tickets.Mint(forUpload, alice, many[:maxTicketURLs]); !ok || len(ticket) > 8000 {
		t.Errorf("ticket for %d files: %t, %d bytes; proxies allow 8 KiB", maxTicketURLs, ok, len(ticket))
	}
	if _, ok := tickets.Mint(forUpload, &iam.Principal{}, many[:1]); ok {
		t.Error("minted for nobody")
	}
}

func FuzzVerifyTicket(f *testing.F) {
	tickets := testTickets(time.Unix(1_800_000_000, 0))
	const r = "gw.test/a"
	genuine, _ := tickets.Mint(forUpload, alice, []string{"https://gw.test/a"})
	f.Add("")
	f.Add(genuine[:20])
	f.Add(base64.RawURLEncoding.EncodeToString(make([]byte, 100)))
	f.Fuzz(func(t *testing.T, ticket string) {
		if _, err := tickets.Verify(ticket, forUpload, r); err == nil && ticket != genuine {
			t.Fatalf("forged: %q", ticket)
		}
	})
}
