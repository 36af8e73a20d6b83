package admin

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// Every order has each key in one place, so that pages show all of them, of whatever size; no more is held than that.
func TestPagesOfKeys(t *testing.T) {
	day := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	var rows []KeyRow
	for i := range 1500 { // of few values, so that many are equal in most columns
		r := KeyRow{ID: iam.KeyID(fmt.Sprintf("%08x", i)), Owner: fmt.Sprintf("owner-%d", i%7), Name: strings.Repeat("N", i%3), Created: day.AddDate(0, 0, i%5)}
		if i%2 == 0 {
			r.LastUsed = day.AddDate(0, 0, 10+i%4)
		}
		rows = append(rows, r)
	}
	for column := range keyColumns {
		for _, descending := range []bool{false, true} {
			order := keyOrder{column, descending}
			var seen []KeyRow
			var after *KeyRow
			for {
				first := firstRows{order: order, limit: 100}
				for _, i := range rand.Perm(len(rows)) {
					if r := rows[i]; after == nil || order.compare(&r, after) > 0 {
						first.add(r)
					}
				}
				if cap(first.rows) > 2500 {
					t.Fatalf("for a page of 100, %d rows are held", cap(first.rows))
				}
				page, err := first.page()
				if err != nil {
					t.Fatal(err)
				}
				seen = append(seen, page.Rows...)
				if page.Next == "" {
					break
				}
				if after, err = order.parseCursor(page.Next); err != nil {
					t.Fatal(err)
				}
			}
			value := keyColumns[column]
			if len(seen) != len(rows) || !slices.IsSortedFunc(seen, func(a, b KeyRow) int {
				if descending {
					return strings.Compare(value(&b), value(&a))
				}
				return strings.Compare(value(&a), value(&b))
			}) {
				t.Errorf("by %s pages show %d rows, or in another order", order, len(seen))
			}
			ids := map[iam.KeyID]bool{}
			for _, r := range seen {
				ids[r.ID] = true
			}
			if len(ids) != len(rows) {
				t.Errorf("by %s pages show %d keys", order, len(ids))
			}
		}
	}
}

func TestParseAge(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"90d": 90 * 24 * time.Hour, "1d": 24 * time.Hour, "36h": 36 * time.Hour, "1s": time.Second, "36500d": maxUnusedFor,
		"": 0, "0d": 0, "-1d": 0, "-1h": 0, "d": 0, "1.5d": 0, "90": 0, "36501d": 0, "9223372036854775807d": 0, "99999999999999999999d": 0, "1d1h": 0, "2562047h": 0,
	} {
		if age, err := parseAge(text); age != want || (err == nil) != (want > 0) {
			t.Errorf("%q is %s (%v), want %s", text, age, err, want)
		}
	}
}

// What is no cursor of the order is refused, and what is leads to the row that it was made of.
func FuzzCursor(f *testing.F) {
	order := keyOrder{"name", true}
	row := KeyRow{ID: "0123abcd", Owner: "alice", Name: "laptop \u2028", Created: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)}
	cursor, err := order.cursor(row)
	if err != nil {
		f.Fatal(err)
	}
	other, _ := keyOrder{"name", false}.cursor(row)
	for _, s := range []string{cursor, other, "", "e30", "bnVsbA", cursor + "=", cursor[1:], strings.Repeat("A", 5000)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := order.parseCursor(s)
		if err != nil {
			if iam.KindOf(err) != iam.KindInvalid || r != nil {
				t.Fatalf("%v, %v", r, err)
			}
			return
		}
		again, err := order.cursor(*r)
		if err != nil {
			return // a time that JSON cannot say
		}
		same, err := order.parseCursor(again)
		if err != nil || order.compare(r, same) != 0 {
			t.Fatalf("%q leads to %v, and that to %v (%v)", s, r, same, err)
		}
	})
}
