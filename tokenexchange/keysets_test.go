package tokenexchange

import (
	"sync"
	"testing"

	"github.com/wandb-gateway/wandb-gateway/internal/keys/jws"
)

func pinnedIssuer(t *testing.T, url string) *TrustedIssuer {
	t.Helper()
	key, err := jws.NewPrivateKey("ES256")
	if err != nil {
		t.Fatal(err)
	}
	return &TrustedIssuer{URL: url, Keys: keySetOf(t, key)}
}

func TestGenerationFollowsTheKeySets(t *testing.T) {
	k := &KeySets{}
	t.Cleanup(k.Close)
	if k.generation() != 0 {
		t.Error("without key sets there is a generation")
	}
	first, second := pinnedIssuer(t, "https://first.test"), pinnedIssuer(t, "https://second.test")
	set, err := k.of(first)
	if err != nil {
		t.Fatal(err)
	}
	one := k.generation()
	if one == 0 {
		t.Error("with a key set there is no generation")
	}
	if again, err := k.of(first); err != nil || again != set || k.generation() != one {
		t.Errorf("the same issuer has another key set the second time (%v)", err)
	}
	if _, err := k.of(second); err != nil {
		t.Fatal(err)
	}
	if k.generation() == one {
		t.Error("another issuer's keys leave the generation as it was")
	}
	k.keep(map[string]bool{first.source(): true})
	if k.generation() != one {
		t.Error("the keys of a dropped issuer still count")
	}
	k.keep(nil)
	if k.generation() != 0 {
		t.Error("all issuers are dropped, and keys still count")
	}
}

// TestKeySetsAreReadWhileTheyChange is for the race detector.
func TestKeySetsAreReadWhileTheyChange(t *testing.T) {
	k := &KeySets{}
	t.Cleanup(k.Close)
	kept := pinnedIssuer(t, "https://kept.test")
	set, err := k.of(kept)
	if err != nil {
		t.Fatal(err)
	}
	other := pinnedIssuer(t, "https://other.test")
	var running sync.WaitGroup
	for range 4 {
		running.Go(func() {
			for range 100 {
				if _, err := k.of(other); err != nil {
					t.Error(err)
				}
				k.keep(map[string]bool{kept.source(): true})
				if k.generation() == 0 {
					t.Error("the keys of the issuer that stays are gone")
				}
			}
		})
	}
	running.Wait()
	if again, err := k.of(kept); err != nil || again != set {
		t.Errorf("the issuer that stays has another key set now (%v)", err)
	}
}
