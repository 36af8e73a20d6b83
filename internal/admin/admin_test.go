package admin

import (
	"testing"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// The calls themselves are tested from outside, with the commands that make them (tests/commands_test.go).

func TestCallRefusesWhatItDoesNotKnow(t *testing.T) {
	s := New(nil, nil, nil, nil)
	for _, tt := range []struct {
		noun, verb, body string
		kind             iam.Kind
	}{
		{"planet", "create", `{}`, iam.KindNotFound},
		{"user", "destroy", `{}`, iam.KindNotFound},
		{"user", "", `{}`, iam.KindNotFound},
		{"user", "get", `{}`, iam.KindInvalid},
		{"user", "create", `{"target":"a","isAdmin":true}`, iam.KindInvalid},
		{"user", "create", `{"target":"a"}{"target":"b"}`, iam.KindInvalid},
		{"user", "create", `{"target":1}`, iam.KindInvalid},
		{"user", "create", `[]`, iam.KindInvalid},
		{"user", "create", ``, iam.KindInvalid},
	} {
		if _, err := s.Call(t.Context(), tt.noun, tt.verb, []byte(tt.body)); iam.KindOf(err) != tt.kind {
			t.Errorf("%s %s %s: %v", tt.noun, tt.verb, tt.body, err)
		}
	}
}

func TestSplitRole(t *testing.T) {
	for _, tt := range []struct {
		member, who string
		role        iam.Role
	}{
		{"alice", "alice", ""},
		{"alice:Admin", "alice", iam.RoleAdmin},
		{"alice:view-only", "alice", iam.RoleViewer},
		{"alice:launcher", "alice", "launcher"},
		{"service_account:ci", "service_account:ci", ""},
		{"service_account:ci:member", "service_account:ci", iam.RoleMember},
	} {
		who, role, err := splitRole(tt.member)
		if err != nil || who != tt.who || role != tt.role {
			t.Errorf("%q is %q with %q (%v)", tt.member, who, role, err)
		}
	}
	if _, _, err := splitRole("alice:no such role"); err == nil {
		t.Error("a role with blanks is accepted")
	}
}

func TestOnlyComparesAsNamesAre(t *testing.T) {
	rows := []row{{"name": "Vision"}, {"name": "speech"}}
	if found, err := only(rows, "name", "vision", "team"); err != nil || len(found) != 1 {
		t.Errorf("found %v, %v", found, err)
	}
	if found, err := only(rows, "name", "", "team"); err != nil || len(found) != 2 {
		t.Errorf("found %v, %v", found, err)
	}
	if _, err := only(rows, "name", "audio", "team"); iam.KindOf(err) != iam.KindNotFound {
		t.Errorf("audio: %v", err)
	}
}
