package iam

import (
	"encoding/json"
	"testing"
)

// TestEnforcedOver: what the organization has set holds, and what it has not is the team's own (PRIV-2).
func TestEnforcedOver(t *testing.T) {
	all := TeamSettings{Hidden: true, PrivateProjects: true, MembersInvite: true, AutoJoin: true}
	for _, c := range []struct {
		name      string
		enforced  EnforcedSettings
		own, want TeamSettings
	}{
		{"nothing, on nothing", EnforcedSettings{}, TeamSettings{}, TeamSettings{}},
		{"nothing, on all", EnforcedSettings{}, all, all},
		{"all on", EnforcedSettings{SwitchOn, SwitchOn, SwitchOn}, TeamSettings{}, TeamSettings{Hidden: true, PrivateProjects: true, MembersInvite: true}},
		{"all off", EnforcedSettings{SwitchOff, SwitchOff, SwitchOff}, all, TeamSettings{AutoJoin: true}},
		{"one of them", EnforcedSettings{PrivateProjects: SwitchOn}, TeamSettings{Hidden: true}, TeamSettings{Hidden: true, PrivateProjects: true}},
		{"a position that does not exist", EnforcedSettings{Hidden: 7}, TeamSettings{Hidden: true}, TeamSettings{Hidden: true}},
	} {
		if got := c.enforced.Over(c.own); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

func TestSwitchText(t *testing.T) {
	for _, s := range []Switch{SwitchUnset, SwitchOff, SwitchOn} {
		if got, err := ParseSwitch(s.String()); got != s || err != nil {
			t.Errorf("%s reads as %v, %v", s, got, err)
		}
	}
	if got, err := ParseSwitch("ON"); got != SwitchOn || err != nil {
		t.Error("ON", got, err)
	}
	for _, s := range []string{"", "true", "yes", "on ", "o\u017fn"} {
		if got, err := ParseSwitch(s); err == nil || got != SwitchUnset {
			t.Errorf("%q reads as %v", s, got)
		}
		if got, err := ParseOnOff(s); err == nil || got {
			t.Errorf("%q reads as %v", s, got)
		}
	}
	b, err := json.Marshal(OrganizationSettings{Enforced: EnforcedSettings{MembersInvite: SwitchOff}})
	if want := `{"enforced":{"members_invite":"off"}}`; string(b) != want || err != nil {
		t.Errorf("recorded as %s, %v", b, err)
	}
	var back OrganizationSettings
	if err := json.Unmarshal(b, &back); err != nil || back.Enforced.MembersInvite != SwitchOff {
		t.Errorf("read back as %+v, %v", back, err)
	}
}
