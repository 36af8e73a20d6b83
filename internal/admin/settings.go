package admin

import (
	"cmp"
	"context"
	"fmt"

	"github.com/wandb-gateway/wandb-gateway/internal/directory"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// teamSettings reads what a call says of a team's settings.
func teamSettings(r request) (directory.TeamSettingsChange, error) {
	var c directory.TeamSettingsChange
	err := cmp.Or(
		option("--hidden", r.Hidden, iam.ParseOnOff, &c.Hidden),
		option("--private-projects", r.PrivateProjects, iam.ParseOnOff, &c.PrivateProjects),
		option("--members-invite", r.MembersInvite, iam.ParseOnOff, &c.MembersInvite),
		option("--auto-join", r.AutoJoin, iam.ParseOnOff, &c.AutoJoin),
	)
	return c, err
}

// option reads an option of the command line under its own name.
func option[T any](name string, given *string, parse func(string) (T, error), into **T) error {
	v, err := parsed(given, parse)
	if err != nil {
		return iam.Invalidf("%s: %s", name, err)
	}
	*into = v
	return nil
}

// organizationRow is the organization as people look at it.
type organizationRow struct {
	Name                   string     `json:"name"`
	EnforceHidden          iam.Switch `json:"enforce_hidden"`
	EnforcePrivateProjects iam.Switch `json:"enforce_private_projects"`
	EnforceMembersInvite   iam.Switch `json:"enforce_members_invite"`
}

func (s *Service) getOrganization(ctx context.Context, _ request) (any, error) {
	o, err := s.directory.OrganizationSettings(ctx)
	if err != nil {
		return nil, err
	}
	e := o.Enforced
	return []organizationRow{{s.directory.Organization(), e.Hidden, e.PrivateProjects, e.MembersInvite}}, nil
}

func (s *Service) setOrganization(ctx context.Context, r request) (any, error) {
	var c directory.OrganizationChange
	err := cmp.Or(
		option("--enforce-hidden", r.EnforceHidden, iam.ParseSwitch, &c.EnforceHidden),
		option("--enforce-private-projects", r.EnforcePrivateProjects, iam.ParseSwitch, &c.EnforcePrivateProjects),
		option("--enforce-members-invite", r.EnforceMembersInvite, iam.ParseSwitch, &c.EnforceMembersInvite),
	)
	if err != nil {
		return nil, err
	}
	changed, err := s.directory.SetOrganization(ctx, c)
	if err != nil {
		return nil, err
	}
	e := changed.After.Enforced
	return Done{fmt.Sprintf("for all teams: hidden %s, private-projects %s, members-invite %s", e.Hidden, e.PrivateProjects, e.MembersInvite)}, nil
}
