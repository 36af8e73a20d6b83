package admin

import (
	"context"
	"strings"

	"github.com/wandb-gateway/wandb-gateway/internal/directory"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

func (s *Service) createUser(ctx context.Context, r request) (any, error) {
	role, err := parsed(r.Role, iam.ParseOrganizationRole)
	if err != nil {
		return nil, err
	}
	models, err := parsed(r.ModelsSeat, iam.ParseSeat)
	if err != nil {
		return nil, err
	}
	weave, err := parsed(r.WeaveSeat, iam.ParseSeat)
	if err != nil {
		return nil, err
	}
	_, err = s.directory.CreateUser(ctx, directory.NewUser{
		Username: r.Target, Email: text(r.Email), Name: text(r.Name), Role: value(role),
		ModelsSeat: value(models), WeaveSeat: value(weave), Inactive: r.Active != nil && !*r.Active, BillingAdmin: value(r.BillingAdmin),
	})
	if err != nil {
		return nil, err
	}
	return done("user %s created", r.Target)
}

func (s *Service) setUser(ctx context.Context, r request) (any, error) {
	id, err := s.user(ctx, r.Target)
	if err != nil {
		return nil, err
	}
	change := directory.UserChange{Email: r.Email, Name: r.Name, Active: r.Active, BillingAdmin: r.BillingAdmin}
	if change.Role, err = parsed(r.Role, iam.ParseOrganizationRole); err != nil {
		return nil, err
	}
	if change.ModelsSeat, err = parsed(r.ModelsSeat, iam.ParseSeat); err != nil {
		return nil, err
	}
	if change.WeaveSeat, err = parsed(r.WeaveSeat, iam.ParseSeat); err != nil {
		return nil, err
	}
	if change.DefaultTeam, err = s.optionalTeam(ctx, r.DefaultTeam); err != nil {
		return nil, err
	}
	if _, err := s.directory.SetUser(ctx, id, change); err != nil {
		return nil, err
	}
	if r.Unbind != nil {
		c, err := s.directory.Unbind(ctx, id, *r.Unbind)
		if err != nil {
			return nil, err
		}
		if len(c.Before.Bindings) == len(c.After.Bindings) {
			return nil, iam.NotFoundf("%s has no account at %q; `iam user get %s` shows at which issuers they have one", r.Target, *r.Unbind, r.Target)
		}
	}
	return done("user %s changed", r.Target)
}

func (s *Service) deleteUser(ctx context.Context, r request) (any, error) {
	id, err := s.user(ctx, r.Target)
	if err != nil {
		return nil, err
	}
	if _, err := s.directory.DeleteUser(ctx, id); err != nil {
		return nil, err
	}
	return done("user %s deleted, with keys and memberships", r.Target)
}

func (s *Service) createTeam(ctx context.Context, r request) (any, error) {
	members, err := s.people(ctx, r.Add)
	if err != nil {
		return nil, err
	}
	if _, err := s.directory.CreateTeam(ctx, r.Target, members...); err != nil {
		return nil, err
	}
	return done("team %s created", r.Target)
}

func (s *Service) setTeam(ctx context.Context, r request) (any, error) {
	id, err := s.team(ctx, r.Target)
	if err != nil {
		return nil, err
	}
	added, err := s.people(ctx, r.Add)
	if err != nil {
		return nil, err
	}
	removed := make([]iam.UserID, len(r.Remove))
	for i, name := range r.Remove {
		if removed[i], err = s.user(ctx, name); err != nil {
			return nil, err
		}
	}
	settings, err := teamSettings(r)
	if err != nil {
		return nil, err
	}
	if _, err := s.directory.SetTeam(ctx, id, directory.TeamChange{Settings: settings, Set: added, Remove: removed}); err != nil {
		return nil, err
	}
	return done("team %s changed", r.Target)
}

// people finds USERNAME, a member, or USERNAME:ROLE.
func (s *Service) people(ctx context.Context, names []string) ([]directory.TeamMember, error) {
	found := make([]directory.TeamMember, 0, len(names))
	for _, member := range names {
		name, role, err := splitRole(member)
		if err != nil {
			return nil, err
		}
		id, err := s.user(ctx, name)
		if err != nil {
			return nil, err
		}
		if role == "" {
			role = iam.RoleMember
		}
		found = append(found, directory.TeamMember{User: id, Role: role})
	}
	return found, nil
}

func (s *Service) deleteTeam(ctx context.Context, r request) (any, error) {
	id, err := s.team(ctx, r.Target)
	if err != nil {
		return nil, err
	}
	if _, err := s.directory.DeleteTeam(ctx, id); err != nil {
		return nil, err
	}
	return done("team %s deleted", r.Target)
}

func (s *Service) createServiceAccount(ctx context.Context, r request) (any, error) {
	team, err := s.optionalTeam(ctx, r.Team)
	if err != nil {
		return nil, err
	}
	defaultTeam, err := s.optionalTeam(ctx, r.DefaultTeam)
	if err != nil {
		return nil, err
	}
	claims, err := claimsOf(r.Claim)
	if err != nil {
		return nil, err
	}
	made, err := s.directory.CreateServiceAccount(ctx, directory.NewServiceAccount{
		Name: r.Target, Team: value(team), DefaultTeam: value(defaultTeam), Issuer: text(r.Issuer), Subject: text(r.Subject), Claims: value(claims),
	})
	if err != nil {
		return nil, err
	}
	if made.After.Federated() {
		return done("service account %s created; it signs in with the assertions of %s that it names, and needs no key%s", r.Target, made.After.Issuer, vagueHint(r.Target))
	}
	return done("service account %s created; `iam key create --owner service_account:%s --name LABEL` makes a key for it%s", r.Target, r.Target, vagueHint(r.Target))
}

// vagueHint says that the name of a service account does not say what it is for (BP-5); "" of others.
func vagueHint(name string) string {
	if !iam.VagueName(name) {
		return ""
	}
	return ". Its name does not say what it is for: one like ci-model-training tells whoever finds it in a log"
}

// claimsOf reads NAME=VALUE of every claim: nil if none was given, no claims for one that is empty.
// The name ends at the first =, as values have them more often than names.
func claimsOf(options []string) (*map[string]string, error) {
	if options == nil {
		return nil, nil
	}
	claims := make(map[string]string, len(options))
	if len(options) == 1 && options[0] == "" {
		return &claims, nil
	}
	for _, option := range options {
		name, value, ok := strings.Cut(option, "=")
		if !ok {
			return nil, iam.Invalidf("a claim is given as NAME=VALUE, such as `--claim repository=acme/detector`, and %q has no =", option)
		}
		if _, twice := claims[name]; twice {
			return nil, iam.Invalidf("the claim %q is given twice, and has one value", name)
		}
		claims[name] = value
	}
	return &claims, nil
}

func (s *Service) setServiceAccount(ctx context.Context, r request) (any, error) {
	id, err := s.serviceAccount(ctx, r.Target)
	if err != nil {
		return nil, err
	}
	change := directory.ServiceAccountChange{Name: r.Name, Issuer: r.Issuer, Subject: r.Subject, Active: r.Active}
	if change.Claims, err = claimsOf(r.Claim); err != nil {
		return nil, err
	}
	if change.DefaultTeam, err = s.optionalTeam(ctx, r.DefaultTeam); err != nil {
		return nil, err
	}
	c, err := s.directory.SetServiceAccount(ctx, id, change)
	if err != nil {
		return nil, err
	}
	hint := ""
	if c.After.Name != c.Before.Name {
		hint = ", and is called " + c.After.Name + vagueHint(c.After.Name)
	}
	switch {
	case c.Before.Active && !c.After.Active:
		return done("service account %s disabled: its keys are refused from now on and work again when it is enabled; its access tokens have ended for good%s", r.Target, hint)
	case !c.Before.Active && c.After.Active:
		return done("service account %s enabled: its keys work again; access tokens are had anew%s", r.Target, hint)
	}
	return done("service account %s changed%s", r.Target, hint)
}

func (s *Service) deleteServiceAccount(ctx context.Context, r request) (any, error) {
	id, err := s.serviceAccount(ctx, r.Target)
	if err != nil {
		return nil, err
	}
	if _, err := s.directory.DeleteServiceAccount(ctx, id); err != nil {
		return nil, err
	}
	return done("service account %s deleted, with its keys", r.Target)
}
