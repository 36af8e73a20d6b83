package admin

import (
	"context"

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
		ModelsSeat: value(models), WeaveSeat: value(weave), Inactive: r.Active != nil && !*r.Active,
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
	change := directory.UserChange{Email: r.Email, Name: r.Name, Active: r.Active}
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
	team, err := s.directory.CreateTeam(ctx, r.Target)
	if err != nil {
		return nil, err
	}
	if err := s.addMembers(ctx, team.After.ID, members); err != nil {
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
	removed, err := s.people(ctx, r.Remove)
	if err != nil {
		return nil, err
	}
	if err := s.addMembers(ctx, id, added); err != nil {
		return nil, err
	}
	for _, m := range removed {
		if _, err := s.directory.RemoveMember(ctx, id, m.user); err != nil {
			return nil, err
		}
	}
	return done("team %s changed", r.Target)
}

// person is a user with the role that they are to have.
type person struct {
	user iam.UserID
	role iam.Role
}

// people finds USERNAME or USERNAME:ROLE; all are found before anything is changed.
func (s *Service) people(ctx context.Context, names []string) ([]person, error) {
	found := make([]person, 0, len(names))
	for _, member := range names {
		name, role, err := splitRole(member)
		if err != nil {
			return nil, err
		}
		id, err := s.user(ctx, name)
		if err != nil {
			return nil, err
		}
		found = append(found, person{id, role})
	}
	return found, nil
}

func (s *Service) addMembers(ctx context.Context, team iam.TeamID, members []person) error {
	for _, m := range members {
		if m.role == "" {
			m.role = iam.RoleMember
		}
		if _, err := s.directory.SetMember(ctx, team, m.user, m.role); err != nil {
			return err
		}
	}
	return nil
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
	_, err = s.directory.CreateServiceAccount(ctx, directory.NewServiceAccount{
		Name: r.Target, Team: value(team), DefaultTeam: value(defaultTeam), Issuer: text(r.Issuer), Subject: text(r.Subject),
	})
	if err != nil {
		return nil, err
	}
	return done("service account %s created; `iam key create --owner service_account:%s --name LABEL` makes a key for it", r.Target, r.Target)
}

func (s *Service) setServiceAccount(ctx context.Context, r request) (any, error) {
	id, err := s.serviceAccount(ctx, r.Target)
	if err != nil {
		return nil, err
	}
	change := directory.ServiceAccountChange{Issuer: r.Issuer, Subject: r.Subject, Active: r.Active}
	if change.DefaultTeam, err = s.optionalTeam(ctx, r.DefaultTeam); err != nil {
		return nil, err
	}
	if _, err := s.directory.SetServiceAccount(ctx, id, change); err != nil {
		return nil, err
	}
	return done("service account %s changed", r.Target)
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
