package scim

import (
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/directory"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/problem"
	"github.com/wandb-gateway/wandb-gateway/internal/scim/patch"
	"github.com/wandb-gateway/wandb-gateway/internal/scim/schema"
	"github.com/wandb-gateway/wandb-gateway/internal/untrusted"
)

// groupRecord is what is seen of a team: its version and its events are made of it.
type groupRecord struct {
	ID         iam.TeamID   `json:"id"`
	Name       string       `json:"name"`
	ExternalID string       `json:"external_id,omitempty"`
	Modified   time.Time    `json:"modified,omitzero"`
	Members    []iam.UserID `json:"members"`
}

func recordOf(g *directory.Group) groupRecord {
	return groupRecord{ID: g.ID, Name: g.Name, ExternalID: g.ExternalID, Modified: g.Modified, Members: g.Members}
}

func groupVersion(g *directory.Group) string { return versionOf(recordOf(g)) }

// groupResource shows a team as the standard does, with those attributes that are wanted.
func groupResource(g *directory.Group, base string, wants func(name string) bool) schema.Resource {
	r := schema.Resource{"schemas": []any{groupSchema}, "id": string(g.ID), "displayName": g.Name}
	if g.ExternalID != "" {
		r["externalId"] = g.ExternalID
	}
	if wants("members") && len(g.Members) > 0 {
		members := make([]any, len(g.Members))
		for i, id := range g.Members {
			members[i] = schema.Resource{"value": string(id), "$ref": base + "/Users/" + string(id), "type": "User"}
		}
		r["members"] = members
	}
	if wants("meta") {
		r["meta"] = schema.Resource{
			"resourceType": "Group", "created": moment(g.Created), "lastModified": lastModified(g.Created, g.Modified),
			"location": base + "/Groups/" + string(g.ID), "version": groupVersion(g),
		}
	}
	return r
}

// memberIDs reads the members of a resource. What is not a person's id is looked up by find, which may be
// nil; what names nobody is refused.
func memberIDs(r schema.Resource, find func(string) (iam.UserID, error)) ([]iam.UserID, error) {
	list, _ := r["members"].([]any)
	ids := make([]iam.UserID, 0, len(list))
	for _, v := range list {
		one, _ := v.(schema.Resource)
		text := str(one, "value")
		id, err := userID(text)
		if err != nil && find != nil {
			id, err = find(text)
		}
		if err != nil && iam.KindOf(err) != iam.KindNotFound {
			return nil, err
		}
		if err != nil || id == "" {
			return nil, invalidValue("the member " + untrusted.Quote(untrusted.Clip(text)) + " is no person of this directory: teams hold people, by their id")
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// addGroup makes a team (SCIM-2).
func (s *Service) addGroup(q *request, name, externalID string, members []iam.UserID) (*directory.Group, error) {
	if name == "" {
		return nil, invalidValue("a group needs a displayName, which is the team's name")
	}
	if err := s.mayMake(q, members, name); err != nil {
		return nil, err
	}
	c, err := s.by(q).CreateGroup(q.ctx(), name, externalID, members)
	if err != nil {
		return nil, err
	}
	s.report(q, "team:create", string(c.After.ID), nil, recordOf(c.After))
	return c.After, nil
}

// editGroup makes of a team what f says its resource is to become; find is memberIDs'.
func (s *Service) editGroup(q *request, find func(string) (iam.UserID, error), f func(*directory.Group) (schema.Resource, error)) (*directory.Group, error) {
	id, err := teamID(q.path[1])
	if err != nil {
		return nil, err
	}
	c, err := s.by(q).EditGroup(q.ctx(), id, func(g *directory.Group) (directory.GroupEdit, error) {
		if err := q.condition.check(groupVersion(g)); err != nil {
			return directory.GroupEdit{}, err
		}
		r, err := f(g)
		if err != nil {
			return directory.GroupEdit{}, err
		}
		return s.groupEdit(q, g, r, find)
	})
	if err != nil {
		return nil, err
	}
	if before, after := recordOf(c.Before), recordOf(c.After); versionOf(before) != versionOf(after) {
		s.report(q, "team:update", string(id), before, after)
	}
	return c.After, nil
}

// groupEdit is the difference between a team and the resource that it is to become.
func (s *Service) groupEdit(q *request, g *directory.Group, r schema.Resource, find func(string) (iam.UserID, error)) (directory.GroupEdit, error) {
	var e directory.GroupEdit
	if iam.FoldName(str(r, "displayName")) != iam.FoldName(g.Name) {
		return e, &iam.Error{Kind: iam.KindInvalid, Reason: schema.ReasonMutability,
			Message: "displayName stays what it was at first: a team's name stands in the address of everything in it"}
	}
	ids, err := memberIDs(r, find)
	if err != nil {
		return e, err
	}
	stay := make(map[iam.UserID]bool, len(ids))
	for _, id := range ids {
		stay[id] = true
	}
	was := make(map[iam.UserID]bool, len(g.Members))
	for _, id := range g.Members {
		was[id] = true
		if !stay[id] {
			e.Remove = append(e.Remove, id)
		}
	}
	for _, id := range ids {
		if was[id] {
			continue
		}
		if err := s.mayGive(q, id, g.Name); err != nil {
			return e, err
		}
		was[id] = true
		e.Add = append(e.Add, id)
	}
	e.ExternalID = ptr(str(r, "externalId"))
	return e, nil
}

// deleteGroup refuses: a team has projects, and their runs and files are at the W&B server (C-9, G7).
func deleteGroup(*request) (*response, error) {
	return nil, &iam.Error{Kind: iam.KindInvalid, Reason: problem.ReasonNotImplemented,
		Message: "teams cannot be deleted by SCIM, because they hold projects: take the members out, or delete the team with `wandb-gateway iam team delete`"}
}

// patchedGroup is what operations make of a team.
func patchedGroup(g *directory.Group, base string, operations []patch.Operation) (schema.Resource, error) {
	return patch.Apply(groupType, groupResource(g, base, everything), operations)
}
