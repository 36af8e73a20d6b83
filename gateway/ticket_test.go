package gateway

import (
	"encoding/base64"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

func testTickets(now time.Time) *Tickets {
	t := NewTickets([32]byte{1})
	t.now = func() time.Time { return now }
	return t
}

var alice = iam.UserID("usr_1").Ref()

func TestTicketIsGoodForItsURLs(t *testing.T) {
	start := time.Unix(1_800_000_000, 0)
	tickets := testTickets(start)
	ticket, ok := tickets.Mint(alice, []string{"https://gw.test/storage/a%20b?x=1&y=2", "https://gw.test:8443/storage/b"})
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
			ref, err := tickets.Verify(ticket, httptest.NewRequest(tt.method, tt.url, nil))
			if (err == nil) != tt.want {
				t.Fatalf("err = %v, want accepted %t", err, tt.want)
			}
			if tt.want && ref != alice {
				t.Errorf("principal %v", ref)
			}
			if !tt.want && iam.KindOf(err) != iam.KindUnauthenticated {
				t.Errorf("kind of %v", err)
			}
		})
	}
}

// TestTicketCannotBeForged flips every bit of a ticket, cuts it at every length and tries the key of
// another deployment.
func TestTicketCannotBeForged(t *testing.T) {
	tickets := testTickets(time.Unix(1_800_000_000, 0))
	r := httptest.NewRequest("PUT", "https://gw.test/a", nil)
	ticket, _ := tickets.Mint(alice, []string{"https://gw.test/a"})
	if _, err := tickets.Verify(ticket, r); err != nil {
		t.Fatal(err)
	}
	raw, _ := base64.RawURLEncoding.DecodeString(ticket)
	for i := range len(raw) * 8 {
		forged := append([]byte(nil), raw...)
		forged[i/8] ^= 1 << (i % 8)
		if _, err := tickets.Verify(base64.RawURLEncoding.EncodeToString(forged), r); err == nil {
			t.Fatalf("accepted with bit %d flipped", i)
		}
	}
	for i := range len(ticket) {
		if _, err := tickets.Verify(ticket[:i], r); err == nil {
			t.Fatalf("accepted when cut to %d", i)
		}
	}
	other := NewTickets([32]byte{2})
	if _, err := other.Verify(ticket, r); err == nil {
		t.Error("accepted by another deployment")
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
		if _, ok := tickets.Mint(alice, urls); ok {
			t.Errorf("%s: minted", name)
		}
	}
	if ticket, ok := tickets.Mint(alice, many[:maxTicketURLs]); !ok || len(ticket) > 8000 {
		t.Errorf("ticket for %d files: %t, %d bytes; proxies allow 8 KiB", maxTicketURLs, ok, len(ticket))
	}
	if _, ok := tickets.Mint(iam.PrincipalRef{}, many[:1]); ok {
		t.Error("minted for nobody")
	}
}

func FuzzVerifyTicket(f *testing.F) {
	tickets := testTickets(time.Unix(1_800_000_000, 0))
	r := httptest.NewRequest("PUT", "https://gw.test/a", nil)
	genuine, _ := tickets.Mint(alice, []string{"https://gw.test/a"})
	f.Add("")
	f.Add(genuine[:20])
	f.Add(base64.RawURLEncoding.EncodeToString(make([]byte, 100)))
	f.Fuzz(func(t *testing.T, ticket string) {
		if _, err := tickets.Verify(ticket, r); err == nil && ticket != genuine {
			t.Fatalf("forged: %q", ticket)
		}
	})
}
