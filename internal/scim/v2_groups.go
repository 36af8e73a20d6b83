package scim

import (
	"context"
	"net/url"
	"slices"

	"github.com/wandb-gateway/wandb-gateway/internal/directory"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/scim/schema"
)

func (v V2) groupsBy(q *request, values url.Values) (*response, error) {
	s, err := readSearch(groupType, values, q.base)
	if err != nil {
		return nil, err
	}
	groups, err := v.findGroups(q.ctx(), s)
	if err != nil {
		return nil, err
	}
	total := len(groups)
	groups = groups[min(s.start, total):min(s.start+s.count, total)]
	page := make([]schema.Resource, len(groups))
	for i, g := range groups {
		page[i] = groupResource(g, s.base, s.projection.Wants)
	}
	return s.answer(page, total), nil
}

// findGroups finds the teams that meet a search, in its order.
func (v V2) findGroups(ctx context.Context, s *search) ([]*directory.Group, error) {
	groups, err := v.candidates(ctx, s)
	if err != nil {
		return nil, err
	}
	type match struct {
		group *directory.Group
		key   *string
	}
	var kept []match
	for _, g := range groups {
		r := groupResource(g, s.base, everything)
		if s.filter != nil && !s.filter.Matches(r) {
			continue
		}
		m := match{group: g}
		if s.sort != nil {
			m.key = s.sort.SortKey(r)
		}
		kept = append(kept, m)
	}
	if s.sort != nil {
		slices.SortStableFunc(kept, func(a, b match) int { return s.order(a.key, b.key) })
	}
	found := make([]*directory.Group, len(kept))
	for i, k := range kept {
		found[i] = k.group
	}
	return found, nil
}

// candidates are the teams that can meet a search: the one that it names exactly, or all.
func (v V2) candidates(ctx context.Context, s *search) ([]*directory.Group, error) {
	if s.filter != nil {
		for _, e := range s.filter.Exact {
			switch e.Target.Attribute.Name {
			case "displayName":
				id, err := v.Directory.FindTeam(ctx, e.Value)
				return v.groupOf(ctx, id, err)
			case "id":
				id, err := teamID(e.Value)
				if err != nil {
					id = "" // no team's
				}
				return v.groupOf(ctx, id, nil)
			}
		}
	}
	return v.Directory.Groups(ctx, true)
}

// groupOf returns the team of that id, if there is one.
func (s *Service) groupOf(ctx context.Context, id iam.TeamID, err error) ([]*directory.Group, error) {
	if err != nil || id == "" {
		return nil, err
	}
	g, err := s.Directory.Group(ctx, id)
	if iam.KindOf(err) == iam.KindNotFound {
		return nil, nil // deleted between the two reads
	}
	return []*directory.Group{g}, err
}
