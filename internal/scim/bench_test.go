package scim_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/wandb-gateway/wandb-gateway/internal/directory"
	"github.com/wandb-gateway/wandb-gateway/internal/hotcache"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/scim"
	"github.com/wandb-gateway/wandb-gateway/internal/store"
	"github.com/wandb-gateway/wandb-gateway/internal/store/embedded"
)

const organization = "acme"

// house is a service on an embedded store, with an admin who calls.
type house struct {
	service *scim.Service
	store   store.Store
	admin   *iam.Principal
	events  []scim.Event
}

func newHouse(t testing.TB) *house {
	t.Helper()
	s, err := embedded.Open(embedded.Config{Directory: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return onStore(t, s)
}

func onStore(t testing.TB, s store.Store) *house {
	t.Helper()
	cache, err := hotcache.New(hotcache.Config{Store: s, Space: organization})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cache.Close() })
	d, err := directory.New(directory.Config{Cache: cache, Organization: organization, HMACKey: [32]byte{1}})
	if err != nil {
		t.Fatal(err)
	}
	h := &house{store: s}
	h.service, err = scim.New(scim.Config{Directory: d, Gateway: func(*http.Request) string { return "https://acme.test" },
		Report: func(_ *http.Request, e scim.Event) { h.events = append(h.events, e) }})
	if err != nil {
		t.Fatal(err)
	}
	root, err := d.CreateUser(context.Background(), directory.NewUser{Username: "root", Role: iam.OrganizationAdmin})
	if err != nil {
		t.Fatal(err)
	}
	if h.admin, err = d.Principal(context.Background(), root.After.ID.Ref()); err != nil {
		t.Fatal(err)
	}
	return h
}

// get lists people by the standard and returns how many there are in all.
func (h *house) get(t testing.TB, query string) int {
	w := httptest.NewRecorder()
	if err := (scim.V2{Service: h.service}).ServeCaller(w, httptest.NewRequest("GET", "/scim/v2/"+query, nil), h.admin); err != nil {
		t.Fatal(err)
	}
	var list struct{ TotalResults int }
	if err := json.Unmarshal(w.Body.Bytes(), &list); err != nil || w.Code != 200 {
		t.Fatal(w.Code, err)
	}
	return list.TotalResults
}

// BenchmarkList lists and searches in a small and in a large organization (design section 9).
func BenchmarkList(b *testing.B) {
	for _, users := range []int{1_000, 100_000} {
		b.Run(fmt.Sprintf("users=%d", users), func(b *testing.B) {
			h := newHouse(b)
			fill(b, h.store, users)
			for _, c := range []struct {
				name, query string
				want        int // 0: whatever
			}{
				{"first page", "Users?count=100", users + 1},
				{"page in the middle", fmt.Sprintf("Users?count=100&startIndex=%d", users/2), users + 1},
				{"userName eq", "Users?filter=" + url.QueryEscape(`userName eq "user-77"`), 1},
				{"emails.value eq", "Users?filter=" + url.QueryEscape(`emails.value eq "user-77@acme.test"`), 1},
				{"displayName co", "Users?filter=" + url.QueryEscape(`displayName co "r 777"`), 0},
				{"active eq, sorted", "Users?count=100&sortBy=userName&filter=" + url.QueryEscape(`active eq true`), users + 1},
				{"one group, without members", "Groups?excludedAttributes=members&filter=" + url.QueryEscape(`displayName eq "team-0"`), 1},
			} {
				b.Run(c.name, func(b *testing.B) {
					b.ReportAllocs()
					for b.Loop() {
						if got := h.get(b, c.query); got != c.want && c.want > 0 {
							b.Fatalf("%d found, want %d", got, c.want)
						}
					}
				})
			}
		})
	}
}

// fill writes records as the directory would, past its rules: single changes would take minutes of fsync.
func fill(t testing.TB, s store.Store, users int) {
	t.Helper()
	var batch []store.Write
	flush := func() {
		if _, err := s.Commit(context.Background(), batch...); err != nil {
			t.Fatal(err)
		}
		batch = batch[:0]
	}
	put := func(key string, v any) {
		value, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if batch = append(batch, store.Write{Key: organization + "/" + key, Value: value}); len(batch) == 20_000 {
			flush()
		}
	}
	put("team/team_00", iam.Team{ID: "team_00", Name: "team-0"})
	put("entity/team-0", map[string]string{"id": "team_00", "name": "team-0"})
	for i := range users {
		id, name := fmt.Sprintf("usr_%020x", i*7919), fmt.Sprintf("user-%d", i)
		u := iam.User{ID: iam.UserID(id), Username: name, Email: name + "@acme.test", Name: fmt.Sprintf("User %d", i), Role: iam.OrganizationMember,
			ModelsSeat: iam.SeatFull, WeaveSeat: iam.SeatFull, Active: true}
		if i%100 == 0 {
			u.Teams = []iam.TeamMembership{{Team: "team_00", Role: iam.RoleMember}}
			put("member/team_00/"+id, struct{}{})
		}
		put("user/"+id, u)
		put("entity/"+name, map[string]string{"id": id, "name": name})
		put("email/"+u.Email, map[string]string{"user": id})
	}
	flush()
}
