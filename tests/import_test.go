package tests

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// tenThousand is a file of 10,000 rows: people, a team that all are in and projects of it. last comes behind
// the last project.
func tenThousand(last string) []byte {
	var file bytes.Buffer
	file.WriteString(`{"organization":"acme","users":[`)
	const users = 9_000
	for i := range users {
		fmt.Fprintf(&file, `{"username":"person-%d","email":"person-%d@acme.test","name":"Person %d"},`, i, i, i)
	}
	file.Truncate(file.Len() - 1)
	file.WriteString(`],"teams":[{"name":"all","members":[`)
	for i := range users {
		fmt.Fprintf(&file, `{"user":"person-%d"},`, i)
	}
	file.Truncate(file.Len() - 1)
	file.WriteString(`]}],"projects":[`)
	for i := range 999 {
		fmt.Fprintf(&file, `{"entity":"all","name":"p%d","visibility":"restricted","members":[{"user":"person-%d"}]},`, i, i)
	}
	file.Truncate(file.Len() - 1)
	file.WriteString(last + `]}`)
	return file.Bytes()
}

// TestOneBadRowOfTenThousand refuses all of them, and says which it is.
func TestOneBadRowOfTenThousand(t *testing.T) {
	p := start(t, config{upstream: newRecorder(t).host()})
	p.importFile(acme)
	before := p.mustIAM("export")
	file := filepath.Join(p.dir, "many.json")
	for row, says := range map[string]string{
		`,{"entity":"all","name":"bad","visibility":"restricted","members":[{"user":"alice"}]}`: "alice",
		`,{"entity":"nowhere","name":"bad"}`:                                                    "nowhere",
	} {
		if err := os.WriteFile(file, tenThousand(row), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := p.iam("", "import", file); err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "all/bad") && !strings.Contains(err.Error(), "nowhere/bad") {
			t.Errorf("the file with %s is answered %.300s, %v", row, out, err)
		}
		if after := p.mustIAM("export"); after != before {
			t.Errorf("the file with %s changed the directory, which has %d bytes in place of %d", row, len(after), len(before))
		}
	}
}

// TestKilledImportIsWholeOrNothing: whenever kill -9 comes, an import is done or not begun, and what was
// acknowledged is done.
func TestKilledImportIsWholeOrNothing(t *testing.T) {
	upstream := newRecorder(t)
	many := tenThousand("")
	undone, done := 0, 0
	// The later rounds kill later: when the file has been read, while it is judged, while it is written. The
	// last one is not killed before the answer.
	moments := []time.Duration{0, 30 * time.Millisecond, 100 * time.Millisecond, 200 * time.Millisecond, 300 * time.Millisecond, 400 * time.Millisecond, time.Minute}
	for _, moment := range moments {
		p := start(t, config{upstream: upstream.host()})
		p.importFile(acme)
		file := filepath.Join(p.dir, "many.json")
		if err := os.WriteFile(file, many, 0o600); err != nil {
			t.Fatal(err)
		}
		acknowledged := make(chan bool, 1)
		received := len(p.entries("received request", 0))
		go func() {
			_, err := p.iam("", "import", file)
			acknowledged <- err == nil
		}()
		p.await("the import to arrive", 30*time.Second, func() bool { return len(p.entries("received request", 0)) > received })
		ok := p.killAfter(moment, acknowledged)
		p = start(t, config{upstream: upstream.host(), dir: p.dir})
		out := p.mustIAM("export")
		got := fmt.Sprint(strings.Count(out, `"username": "person-`), strings.Count(out, `"user": "person-`), strings.Count(out, `"name": "p`))
		switch {
		case got == "9000 9999 1000": // with acme's project "public"
			done++
		case got == "0 0 1" && !ok:
			undone++
		default:
			t.Errorf("killed after %s, acknowledged %v, the directory holds %s", moment, ok, got)
		}
		if a := p.stream("vision/team", aliceKey); a.status != 200 {
			t.Errorf("alice gets %d %s", a.status, a.body)
		}
		p.stop()
	}
	if undone == 0 || done == 0 {
		t.Errorf("%d imports were undone and %d done: nothing was killed in the middle, or nothing ever ends", undone, done)
	}
}
