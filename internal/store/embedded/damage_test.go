package embedded

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/store"
)

// filled makes a store with records in several spaces and a history of changes, closes it, and
// returns its file and what it should hold.
func filled(t testing.TB, records int) (image []byte, want map[string]string) {
	t.Helper()
	directory := t.TempDir()
	s, err := Open(Config{Directory: directory})
	if err != nil {
		t.Fatal(err)
	}
	want = make(map[string]string)
	random := rand.New(rand.NewPCG(1, 2))
	for round := range 6 {
		for _, space := range []string{"acme", "acme-2", "sessions"} {
			var writes []store.Write
			for i := round; i < records; i += 1 + round {
				key := fmt.Sprintf("%s/%05d", space, i)
				value := fmt.Sprintf("%d %s", round, strings.Repeat("v", random.IntN(300)))
				if round > 2 && i%5 == 0 {
					writes = append(writes, store.Write{Key: key})
					delete(want, key)
					continue
				}
				writes = append(writes, store.Write{Key: key, Value: []byte(value)})
				want[key] = value
			}
			if _, err := s.Commit(t.Context(), writes...); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	image, err = os.ReadFile(filepath.Join(directory, FileName))
	if err != nil {
		t.Fatal(err)
	}
	return image[:usedBytes(t, image)], want // without the room to grow
}

// sound reports whether an image passes the check. It compares nothing with bbolt.
func sound(image []byte) error { return checkImage(bytes.NewReader(image), int64(len(image))) }

// wantRefusedOrIntact opens an image: either that is refused with an error that names file and
// remedy, or everything in it is as it was.
func wantRefusedOrIntact(t *testing.T, what string, image []byte, want map[string]string) (refused bool) {
	t.Helper()
	directory := t.TempDir()
	path := filepath.Join(directory, FileName)
	if err := os.WriteFile(path, image, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Open(Config{Directory: directory})
	if err != nil {
		wantRemedy(t, what, path, err)
		after, _ := os.ReadFile(path)
		if !bytes.Equal(after, image) {
			t.Errorf("%s: refusing changed the file", what)
		}
		return true
	}
	defer s.Close()
	got := make(map[string]string)
	for _, space := range []string{"acme/", "acme-2/", "sessions/"} {
		listed, err := s.List(t.Context(), space, "", 0)
		if err != nil {
			t.Errorf("%s: listing: %v", what, err)
		}
		for _, r := range listed {
			got[r.Key] = string(r.Value)
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("%s: was opened, with other records than it had", what)
	}
	for key, value := range want {
		if r, err := s.Get(t.Context(), key); err != nil || string(r.Value) != value {
			t.Errorf("%s: was opened, getting %q: %v", what, key, err)
		}
	}
	return false
}

func wantRemedy(t *testing.T, what, path string, err error) {
	t.Helper()
	told, ok := errors.AsType[*iam.Error](err)
	if !ok || !strings.Contains(told.Message, path) {
		t.Errorf("%s: the error does not name the file: %v", what, err)
		return
	}
	for _, remedy := range []string{"backup", "folder", "chmod", "stop the other", "owner"} {
		if strings.Contains(told.Message, remedy) {
			return
		}
	}
	t.Errorf("%s: the error names no remedy: %v", what, err)
}

func TestTruncated(t *testing.T) {
	image, want := filled(t, 300)
	pages := len(image) / os.Getpagesize()
	random := rand.New(rand.NewPCG(3, 4))
	offsets := []int{0, 1, 15, 16, 79, 80, 81, 511, 512, 1023, 1024, 4095, 4096, 4097, 8191, 8192, 8193, len(image) - 1}
	for i := range min(pages, 80) {
		offsets = append(offsets, i*os.Getpagesize(), i*os.Getpagesize()+random.IntN(os.Getpagesize()))
	}
	refused := 0
	for _, offset := range offsets {
		if wantRefusedOrIntact(t, fmt.Sprintf("cut at %d of %d", offset, len(image)), image[:offset], want) {
			refused++
		}
	}
	t.Logf("%d of %d refused", refused, len(offsets))
	if refused != len(offsets) {
		t.Error("a cut was not noticed")
	}
}

// TestBytesChanged changes bytes throughout a small file, and bits and whole pages of one that has
// branch pages and a longer history.
func TestBytesChanged(t *testing.T) {
	t.Run("bytes, checked", func(t *testing.T) {
		image, _ := filled(t, 12)
		noticed, tried := 0, 0
		for offset := range image {
			if inPage := offset % os.Getpagesize(); inPage > 128 && inPage%7 != 0 {
				continue // every byte of a page's head, every seventh of the rest
			}
			tried++
			damaged := bytes.Clone(image)
			damaged[offset] ^= 0xFF
			if sound(damaged) != nil {
				noticed++
			}
		}
		t.Logf("%d of %d changed bytes noticed, the others are in no use", noticed, tried)
		if noticed < tried/20 {
			t.Errorf("only %d of %d were noticed", noticed, tried)
		}
	})
	t.Run("a sample, opened", func(t *testing.T) {
		image, want := filled(t, 400)
		random := rand.New(rand.NewPCG(5, 6))
		refused := 0
		const sample = 150
		for range sample {
			offset, mask := random.IntN(len(image)), byte(1)<<random.IntN(8)
			damaged := bytes.Clone(image)
			damaged[offset] ^= mask
			if wantRefusedOrIntact(t, fmt.Sprintf("bit %02x at %d", mask, offset), damaged, want) {
				refused++
			}
		}
		t.Logf("%d of %d refused", refused, sample)
		if refused < sample/10 {
			t.Errorf("only %d of %d were noticed", refused, sample)
		}
	})
	t.Run("whole pages", func(t *testing.T) {
		image, want := filled(t, 150)
		page := os.Getpagesize()
		for at := 0; at < len(image); at += page {
			other := (at + 3*page) % len(image)
			for name, spoil := range map[string]func([]byte){
				"zeroed":         func(b []byte) { clear(b[at : at+page]) },
				"ones":           func(b []byte) { copy(b[at:at+page], bytes.Repeat([]byte{0xFF}, page)) },
				"another's page": func(b []byte) { copy(b[at:at+page], image[other:other+page]) },
				"half written":   func(b []byte) { clear(b[at+page/2 : at+page]) },
			} {
				damaged := bytes.Clone(image)
				spoil(damaged)
				wantRefusedOrIntact(t, fmt.Sprintf("%s at %d", name, at), damaged, want)
			}
		}
	})
}

// usedBytes is how much of a file its pages take.
func usedBytes(t testing.TB, image []byte) int {
	t.Helper()
	m, err := readMeta(bytes.NewReader(image), int64(len(image)))
	if err != nil {
		t.Fatal(err)
	}
	return int(m.pages) * int(m.pageBytes)
}

func TestOldPagesAreNoticed(t *testing.T) {
	image, want := filled(t, 200)
	directory := t.TempDir()
	path := filepath.Join(directory, FileName)
	if err := os.WriteFile(path, image, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Open(Config{Directory: directory})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 { // free pages come back into use
		if _, err := s.Commit(t.Context(), store.Write{Key: "acme/00001", Value: []byte("revoked")}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	later, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want["acme/00001"] = "revoked"
	page := os.Getpagesize()
	differ := 0
	for at := 0; at+page <= min(len(image), usedBytes(t, later)); at += page {
		if bytes.Equal(image[at:at+page], later[at:at+page]) {
			continue
		}
		differ++
		mixed := bytes.Clone(later)
		copy(mixed[at:at+page], image[at:at+page])
		wantRefusedOrIntact(t, fmt.Sprintf("page %d from before", at/page), mixed, want)
	}
	if differ < 4 {
		t.Errorf("only %d pages differ", differ)
	}
}

// TestForgedRecords changes records through bbolt, so that every page is sound and only the
// gateway's own checksums can tell.
func TestForgedRecords(t *testing.T) {
	for name, forge := range map[string]func(*bbolt.Tx) error{
		"a value moved to another key": func(tx *bbolt.Tx) error {
			b := tx.Bucket(recordsBucket)
			return b.Put([]byte("acme/00001"), bytes.Clone(b.Get([]byte("acme/00002"))))
		},
		"a record removed":   func(tx *bbolt.Tx) error { return tx.Bucket(recordsBucket).Delete([]byte("acme/00001")) },
		"a record too short": func(tx *bbolt.Tx) error { return tx.Bucket(recordsBucket).Put([]byte("acme/00001"), []byte("x")) },
		"an empty record":    func(tx *bbolt.Tx) error { return tx.Bucket(recordsBucket).Put([]byte("acme/00001"), nil) },
		"a bucket for records": func(tx *bbolt.Tx) error {
			_, err := tx.Bucket(recordsBucket).CreateBucket([]byte("acme/b"))
			return err
		},
		"a record of no space": func(tx *bbolt.Tx) error {
			raw, _ := encodeRecord("nobody/a", 1, []byte("x"))
			return tx.Bucket(recordsBucket).Put([]byte("nobody/a"), raw)
		},
		"an older record": func(tx *bbolt.Tx) error {
			raw, _ := encodeRecord("acme/00001", 1, []byte("x"))
			return tx.Bucket(recordsBucket).Put([]byte("acme/00001"), raw)
		},
		"all records of a space removed": func(tx *bbolt.Tx) error {
			return tx.Bucket(recordsBucket).ForEach(func(key, _ []byte) error {
				if store.Space(string(key)) == "acme" {
					return tx.Bucket(recordsBucket).Delete(key)
				}
				return nil
			})
		},
		"a space's revision removed": func(tx *bbolt.Tx) error { return tx.Bucket(spacesBucket).Delete([]byte("acme")) },
		"a space's revision of another": func(tx *bbolt.Tx) error {
			b := tx.Bucket(spacesBucket)
			return b.Put([]byte("acme"), bytes.Clone(b.Get([]byte("acme-2"))))
		},
		"a newer format":  func(tx *bbolt.Tx) error { return tx.Bucket(formatBucket).Put(formatKey, []byte("2")) },
		"no format":       func(tx *bbolt.Tx) error { return tx.Bucket(formatBucket).Delete(formatKey) },
		"a bucket more":   func(tx *bbolt.Tx) error { _, err := tx.CreateBucket([]byte("more")); return err },
		"records removed": func(tx *bbolt.Tx) error { return tx.DeleteBucket(recordsBucket) },
		"a foreign database": func(tx *bbolt.Tx) error {
			return errors.Join(tx.DeleteBucket(recordsBucket), tx.DeleteBucket(spacesBucket), tx.DeleteBucket(formatBucket))
		},
	} {
		t.Run(name, func(t *testing.T) {
			image, want := filled(t, 40)
			path := filepath.Join(t.TempDir(), FileName)
			if err := os.WriteFile(path, image, 0o600); err != nil {
				t.Fatal(err)
			}
			db, err := bbolt.Open(path, 0o600, nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(db.Update(forge), db.Close()); err != nil {
				t.Fatal(err)
			}
			forged, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !wantRefusedOrIntact(t, name, forged, want) {
				t.Error("the file was opened")
			}
		})
	}
}

// TestDamagedWhileOpen changes the file under the running store: reads must tell, not lie.
func TestDamagedWhileOpen(t *testing.T) {
	directory := t.TempDir()
	s := open(t, directory)
	value := strings.Repeat("needle", 50)
	if _, err := s.Commit(t.Context(), store.Write{Key: "acme/a", Value: []byte(value)}, store.Write{Key: "acme/b", Value: []byte("sound")}); err != nil {
		t.Fatal(err)
	}
	image, err := os.ReadFile(s.Path())
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(s.Path(), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for at := 0; ; at++ {
		next := bytes.Index(image[at:], []byte(value))
		if next < 0 {
			break
		}
		at += next
		if _, err := f.WriteAt([]byte("x"), int64(at)+7); err != nil {
			t.Fatal(err)
		}
	}
	if r, err := s.Get(t.Context(), "acme/a"); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("getting: %.20q, %v, want ErrCorrupt", r.Value, err)
	}
	if _, err := s.List(t.Context(), "acme/", "", 0); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("listing: %v, want ErrCorrupt", err)
	}
	if r, err := s.Get(t.Context(), "acme/b"); err != nil || string(r.Value) != "sound" {
		t.Errorf("getting what is sound: %q, %v", r.Value, err)
	}
	if _, err := s.Commit(t.Context(), store.Write{Key: "acme/a", Value: []byte("over it")}); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("writing over damage: %v, want ErrCorrupt", err)
	}
	if _, err := s.Commit(t.Context(), store.Write{Key: "acme/c", Value: []byte("beside it")}); err != nil {
		t.Errorf("writing beside damage: %v", err)
	}
}

// TestShrunkWhileOpen cuts the file off under the running store, so that the processor refuses the
// addresses behind its end.
func TestShrunkWhileOpen(t *testing.T) {
	directory := t.TempDir()
	s, err := Open(Config{Directory: directory})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		if _, err := s.Commit(t.Context(), store.Write{Key: fmt.Sprintf("acme/%d", i), Value: bytes.Repeat([]byte("v"), 5000)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Truncate(s.Path(), int64(2*os.Getpagesize())); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(t.Context(), "acme/1"); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("getting: %v, want ErrCorrupt", err)
	}
	if _, err := s.Commit(t.Context(), store.Write{Key: "acme/x", Value: []byte("x")}); err == nil {
		t.Error("committing into a file that is cut off succeeded")
	}
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		s.Close() // its error does not matter; that it returns does
	}()
	select {
	case <-finished:
	case <-time.After(10 * time.Second):
		t.Error("closing hangs")
	}
}

func FuzzCheck(f *testing.F) {
	image, _ := filled(f, 8)
	f.Add(image[:80], uint32(0), uint32(0), byte(0)) // whole images only make the fuzzer slow
	for page := range len(image) / os.Getpagesize() {
		for _, at := range []int{8, 10, 12, 16, 20, 24, 28} {
			f.Add([]byte(nil), uint32(page*os.Getpagesize()+at), uint32(at), byte(page))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, at, with uint32, where byte) {
		if len(data) == 0 { // change the sample in two places
			data = bytes.Clone(image)
			data[int(at)%len(data)] ^= byte(with) | 1
			data[(int(where)*os.Getpagesize()+int(with>>8)%64)%len(data)] ^= where
		}
		_ = sound(data) // must return
	})
}
