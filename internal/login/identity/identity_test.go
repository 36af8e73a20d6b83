package identity

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

func TestVerified(t *testing.T) {
	for v, want := range map[Verified]string{VerifiedAbsent: "absent", VerifiedFalse: "false", VerifiedTrue: "true", 7: "unknown"} {
		if got := v.String(); got != want {
			t.Errorf("%d says %q, want %q", v, got, want)
		}
	}
	if v := (Identity{}).EmailVerified; v != VerifiedAbsent {
		t.Errorf("an identity that says nothing says %s", v)
	}
}

func TestIdentityNeverPrintsItsToken(t *testing.T) {
	const token = "eyJhbGciOiJub25lIn0.canary.x"
	id := Identity{Issuer: "https://idp.acme.test", IDToken: iam.NewSecret(token)}
	encoded, err := json.Marshal(id)
	if err != nil {
		t.Fatal(err)
	}
	all := string(encoded) + fmt.Sprintf("%v %+v %#v", id, &id, id)
	if strings.Contains(all, "canary") {
		t.Errorf("the token is told: %s", all)
	}
}
