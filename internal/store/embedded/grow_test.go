package embedded

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/wandb-gateway/wandb-gateway/internal/store"
)

// TestHalfAFileIsNoticed cuts files of several sizes in half. None of them may open: the half that
// is missing must hold pages, not only room to grow.
func TestHalfAFileIsNoticed(t *testing.T) {
	for _, records := range []int{0, 1, 50, 1000, 20_000} {
		t.Run(fmt.Sprint(records), func(t *testing.T) {
			directory := t.TempDir()
			s, err := Open(Config{Directory: directory})
			if err != nil {
				t.Fatal(err)
			}
			for from := 0; from < records; from += 500 {
				var writes []store.Write
				for i := from; i < min(from+500, records); i++ {
					writes = append(writes, store.Write{Key: fmt.Sprintf("acme/%06d", i), Value: []byte(strings.Repeat("v", 200))})
				}
				if _, err := s.Commit(t.Context(), writes...); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			info, err := os.Stat(s.Path())
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(s.Path(), info.Size()/2); err != nil {
				t.Fatal(err)
			}
			if s, err := Open(Config{Directory: directory}); err == nil {
				s.Close()
				t.Fatalf("half of %d bytes is opened", info.Size())
			} else {
				wantRemedy(t, "half", directory, err)
			}
		})
	}
}
