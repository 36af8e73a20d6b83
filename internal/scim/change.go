package scim

import (
	"net/http"

	"github.com/wandb-gateway/wandb-gateway/internal/directory"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/scim/schema"
)

// What both dialects change, they change here.

func (s *Service) addUser(q *request, n directory.NewUser) (directory.Person, error) {
	c, err := s.by(q).CreateUser(q.ctx(), n)
	if err != nil {
		return directory.Person{}, err
	}
	s.report(q, "user:create", string(c.After.ID), nil, c.After)
	people, err := s.Directory.NameTeams(q.ctx(), []*iam.User{c.After}) // they may have joined some (TEAM-12)
	if err != nil {
		return directory.Person{}, err
	}
	return people[0], nil
}

// editUser makes of a person what f says their resource is to become.
func (s *Service) editUser(q *request, f func(directory.Person) (schema.Resource, error)) (directory.Person, error) {
	id, err := userID(q.path[1])
	if err != nil {
		return directory.Person{}, err
	}
	c, err := s.by(q).EditUser(q.ctx(), id, func(p directory.Person) (directory.UserChange, error) {
		if err := q.condition.check(userVersion(p.User)); err != nil {
			return directory.UserChange{}, err
		}
		r, err := f(p)
		if err != nil {
			return directory.UserChange{}, err
		}
		return s.userChange(q, p, r)
	})
	if err != nil {
		return directory.Person{}, err
	}
	if before, after := c.Before.User, c.After.User; userVersion(before) != userVersion(after) {
		s.report(q, userAction(before, after), string(id), before, after)
	}
	return *c.After, nil
}

// userAction names a change as W&B's own audit log does (AUD-5).
func userAction(before, after *iam.User) string {
	switch {
	case before.Active && !after.Active:
		return "user:deactivate"
	case !before.Active && after.Active:
		return "user:reactivate"
	default:
		return "user:update"
	}
}

func (s *Service) removeUser(q *request) (*response, error) {
	id, err := userID(q.path[1])
	if err != nil {
		return nil, err
	}
	c, err := s.by(q).RemoveUser(q.ctx(), id, func(p directory.Person) error { return q.condition.check(userVersion(p.User)) })
	if err != nil {
		return nil, err
	}
	s.report(q, "user:permanently_delete", string(id), c.Before.User, nil)
	return &response{status: http.StatusNoContent}, nil
}
