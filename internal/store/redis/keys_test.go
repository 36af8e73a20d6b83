package redis

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/wandb-gateway/wandb-gateway/internal/store"
)

// TestNames: all keys of a space carry one hash tag, which is the whole space and comes back from it.
func TestNames(t *testing.T) {
	n := names{DefaultPrefix}
	for _, space := range []string{"acme", "a.b", "{", "}", "{}", "a{b}c", "%7B", "%257D", "ü", "\x00", " "} {
		head := n.head(space)
		tag := head[strings.IndexByte(head, '{')+1 : strings.IndexByte(head, '}')]
		if tag == "" || strings.ContainsAny(tag, "{}") {
			t.Errorf("the tag of %q is %q", space, tag)
		}
		for _, key := range []string{n.records(space), n.index(space), n.done(space, "1"), n.changes(space), n.probe(space)} {
			if !strings.HasPrefix(key, DefaultPrefix+"{"+tag+"}:") {
				t.Errorf("%q is not of the slot of %q", key, head)
			}
		}
		if got, ok := n.space(head); !ok || got != space {
			t.Errorf("of %q comes back %q", space, got)
		}
	}
}

func TestBounds(t *testing.T) {
	for _, test := range []struct {
		prefix, after, least, greatest string
		empty                          bool
	}{
		{"s/", "", "-", "+", false},
		{"s/a", "", "[a", "(b", false},
		{"s/a\xff", "", "[a\xff", "(b", false},
		{"s/\xff", "", "[\xff", "+", false},
		{"s/", "s/b", "(b", "+", false},
		{"s/b", "s/a", "[b", "(c", false},
		{"s/a", "s/b", "(b", "(b", false},
		{"s/a", "r/z", "[a", "(b", false},
		{"s/a", "t/a", "", "", true},
		{"s/", "s/", "-", "+", false},
	} {
		least, greatest, empty := bounds("s", test.prefix, test.after)
		if least != test.least || greatest != test.greatest || empty != test.empty {
			t.Errorf("%q after %q: %q to %q, %v", test.prefix, test.after, least, greatest, empty)
		}
	}
}

// TestForeignRecords: what somebody else wrote into Redis is damage, never a value.
func TestForeignRecords(t *testing.T) {
	for _, raw := range []string{"", ":", "x", "1", "x:1", "-1:x", "0:x", "1.5:x", " 1:x", "99999999999999999999:x"} {
		if r, err := decodeRecord("s/a", raw); !errors.Is(err, store.ErrCorrupt) {
			t.Errorf("record %q: %+v, %v", raw, r, err)
		}
	}
	for _, raw := range []string{"", "1", "x y", "0 id", "-1 id", "1.0 id"} {
		if h, err := decodeHead(raw); !errors.Is(err, store.ErrCorrupt) {
			t.Errorf("head %q: %+v, %v", raw, h, err)
		}
	}
	if h, err := decodeHead("7 id of a later release"); err != nil || h != (head{7, "id"}) {
		t.Errorf("a longer head: %+v, %v", h, err)
	}
}

func TestAnnouncementOfManyKeys(t *testing.T) {
	writes := make([]store.Write, store.MaxWrites)
	for i := range writes {
		writes[i].Key = "s/" + strings.Repeat("k", 10)
	}
	if got := encodeKeys("s", writes); got != "g" {
		t.Errorf("%d bytes announce %d keys", len(got), len(writes))
	}
}

func FuzzAnnouncement(f *testing.F) {
	for _, raw := range []string{
		"", "1", "1 a b", "1 a b ", "1 a b g", "1  b k\x01x", "2 a b k\x01x\x02yz", "2 a b k\x05x", "2 a b k\x00", "2 a b k",
		"0 a b g", "-1 a b g", "2 a b z", "2 a b k\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "18446744073709551616 a b g",
	} {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		a, err := decodeAnnouncement("s", raw)
		if err != nil {
			if !errors.Is(err, store.ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		if a.revision == 0 || a.gap == (len(a.keys) > 0) {
			t.Fatalf("%q is read as %+v", raw, a)
		}
		var writes []store.Write
		for _, key := range a.keys {
			if store.Space(key) != "s" || len(key) < 3 {
				t.Fatalf("%q announces the key %q", raw, key)
			}
			writes = append(writes, store.Write{Key: key})
		}
		if a.gap {
			return
		}
		again, err := decodeKeys("s", encodeKeys("s", writes)[1:])
		if err != nil || !slices.Equal(again, a.keys) {
			t.Fatalf("%q: %q comes back as %q, %v", raw, a.keys, again, err)
		}
	})
}
