package iam

// TeamSettings are what is chosen for a team as a whole (PRIV-1, TEAM-12). The zero value is W&B's default.
type TeamSettings struct {
	// Hidden keeps from everybody outside the team that it exists.
	Hidden bool `json:"hidden,omitempty"`
	// PrivateProjects keeps projects from becoming Open or Public; those that are stay (VIS-14).
	PrivateProjects bool `json:"private_projects,omitempty"`
	// MembersInvite lets every Member add members, not only admins (TEAM-6).
	MembersInvite bool `json:"members_invite,omitempty"`
	// AutoJoin makes people who are new in the organization members of the team.
	AutoJoin bool `json:"auto_join,omitempty"`
}

// EnforcedSettings are what the organization decides for all its teams (PRIV-2). The zero value leaves all
// to the teams.
type EnforcedSettings struct {
	Hidden          Switch `json:"hidden,omitzero"`
	PrivateProjects Switch `json:"private_projects,omitzero"`
	MembersInvite   Switch `json:"members_invite,omitzero"`
}

// Over returns what holds for a team that has chosen own.
func (e EnforcedSettings) Over(own TeamSettings) TeamSettings {
	own.Hidden = e.Hidden.over(own.Hidden)
	own.PrivateProjects = e.PrivateProjects.over(own.PrivateProjects)
	own.MembersInvite = e.MembersInvite.over(own.MembersInvite)
	return own
}

// OrganizationSettings are what is chosen for the organization as a whole.
type OrganizationSettings struct {
	Enforced EnforcedSettings `json:"enforced,omitzero"`
}

// Switch is on, off, or not set at all, which leaves the decision to somebody else.
type Switch uint8

// The positions.
const (
	SwitchUnset Switch = iota
	SwitchOff
	SwitchOn
)

var switchNames = [...]string{"unset", "off", "on"}

// over returns own unless the switch is set.
func (s Switch) over(own bool) bool {
	switch s {
	case SwitchOn:
		return true
	case SwitchOff:
		return false
	case SwitchUnset:
		return own
	default:
		return own
	}
}

// String returns "on", "off" or "unset".
func (s Switch) String() string {
	if int(s) < len(switchNames) {
		return switchNames[s]
	}
	return switchNames[SwitchUnset]
}

// ParseSwitch reads what String wrote, in any case.
func ParseSwitch(s string) (Switch, error) {
	folded := FoldName(s)
	for i, name := range switchNames {
		if folded == name {
			return Switch(i), nil
		}
	}
	return SwitchUnset, Invalidf("%q is not on, off or unset", s)
}

// ParseOnOff reads "on" or "off", in any case.
func ParseOnOff(s string) (bool, error) {
	switch FoldName(s) {
	case "on":
		return true, nil
	case "off":
		return false, nil
	}
	return false, Invalidf("%q is not on or off", s)
}

// MarshalText implements encoding.TextMarshaler.
func (s Switch) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Switch) UnmarshalText(b []byte) (err error) {
	*s, err = ParseSwitch(string(b))
	return err
}
