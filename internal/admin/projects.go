package admin

import (
	"context"
	"strings"

	"github.com/wandb-gateway/wandb-gateway/internal/directory"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

func (s *Service) createProject(ctx context.Context, r request) (any, error) {
	entityName, name, ok := strings.Cut(r.Target, "/")
	if !ok {
		return nil, iam.Invalidf("%q is not ENTITY/NAME of a project", r.Target)
	}
	entity, err := s.directory.FindEntity(ctx, entityName)
	if err != nil {
		return nil, err
	}
	if entity == nil {
		return nil, iam.NotFoundf("there is no team or person %q", entityName)
	}
	visibility := iam.VisibilityTeam
	if r.Visibility != nil {
		if visibility, err = iam.ParseVisibility(*r.Visibility); err != nil {
			return nil, err
		}
	}
	n := directory.NewProject{Entity: entity.ID, Name: name, Visibility: visibility}
	if person, ok := entity.ID.User(); ok {
		n.Owner = person.Ref()
	}
	if r.Owner != nil {
		if n.Owner, err = s.principal(ctx, *r.Owner); err != nil {
			return nil, err
		}
	}
	if n.Members, err = s.projectMembers(ctx, r.Add); err != nil {
		return nil, err
	}
	if _, err := s.directory.CreateProject(ctx, n); err != nil {
		return nil, err
	}
	return done("project %s created, visibility %s", r.Target, visibility)
}

// projectMembers finds members written as USERNAME or service_account:NAME, with :ROLE or without.
func (s *Service) projectMembers(ctx context.Context, names []string) ([]iam.ProjectMember, error) {
	var members []iam.ProjectMember
	for _, member := range names {
		who, role, err := splitRole(member)
		if err != nil {
			return nil, err
		}
		ref, err := s.principal(ctx, who)
		if err != nil {
			return nil, err
		}
		members = append(members, iam.ProjectMember{Principal: ref, Role: role})
	}
	return members, nil
}

func (s *Service) setProject(ctx context.Context, r request) (any, error) {
	project, err := s.project(ctx, r.Target)
	if err != nil {
		return nil, err
	}
	change := directory.ProjectChange{}
	if change.Visibility, err = parsed(r.Visibility, iam.ParseVisibility); err != nil {
		return nil, err
	}
	if r.Owner != nil {
		owner, err := s.principal(ctx, *r.Owner)
		if err != nil {
			return nil, err
		}
		change.Owner = &owner
	}
	if change.Add, err = s.projectMembers(ctx, r.Add); err != nil {
		return nil, err
	}
	removed, err := s.projectMembers(ctx, r.Remove)
	if err != nil {
		return nil, err
	}
	for _, m := range removed {
		change.Remove = append(change.Remove, m.Principal)
	}
	if _, err := s.directory.SetProject(ctx, project.ID, change); err != nil {
		return nil, err
	}
	return done("project %s changed", r.Target)
}

func (s *Service) deleteProject(ctx context.Context, r request) (any, error) {
	project, err := s.project(ctx, r.Target)
	if err != nil {
		return nil, err
	}
	if _, err := s.directory.DeleteProject(ctx, project.ID); err != nil {
		return nil, err
	}
	return done("project %s forgotten; what was logged to it stays on the W&B server", r.Target)
}

func (s *Service) createRole(ctx context.Context, r request) (any, error) {
	roles, err := s.directory.Roles(ctx)
	if err != nil {
		return nil, err
	}
	for _, role := range roles {
		if role.Name == r.Target {
			return nil, iam.Conflictf("there is a role %q already; `iam role set` changes it", r.Target)
		}
	}
	return s.putRole(ctx, iam.CustomRole{Name: r.Target, Inherits: iam.RoleMember}, r)
}

func (s *Service) setRole(ctx context.Context, r request) (any, error) {
	roles, err := s.directory.Roles(ctx)
	if err != nil {
		return nil, err
	}
	for _, role := range roles {
		if role.Name == r.Target {
			return s.putRole(ctx, role, r)
		}
	}
	return nil, iam.NotFoundf("there is no custom role %q", r.Target)
}

func (s *Service) putRole(ctx context.Context, role iam.CustomRole, r request) (any, error) {
	inherits, err := parsed(r.Inherits, iam.ParseRole)
	if err != nil {
		return nil, err
	}
	if inherits != nil {
		role.Inherits = *inherits
	}
	if r.Description != nil {
		role.Description = *r.Description
	}
	if r.Permission != nil {
		role.Permissions = r.Permission
	}
	if _, err := s.directory.SetRole(ctx, role); err != nil {
		return nil, err
	}
	return done("role %s inherits %s and adds %s", role.Name, role.Inherits, strings.Join(role.Permissions, ", "))
}

func (s *Service) deleteRole(ctx context.Context, r request) (any, error) {
	if _, err := s.directory.DeleteRole(ctx, iam.Role(r.Target)); err != nil {
		return nil, err
	}
	return done("role %s deleted; who held it has the role that it inherited from", r.Target)
}
