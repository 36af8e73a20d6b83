package admin

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/vault"
)

// UpstreamKeyRow says that a key of the W&B server is kept for somebody. The key is nowhere in it.
type UpstreamKeyRow struct {
	Owner string    `json:"owner"` // USERNAME or team:NAME
	Set   time.Time `json:"set"`
}

// upstreamOwner finds the person or team that exactly one of the options names.
func (s *Service) upstreamOwner(ctx context.Context, r request) (owner iam.EntityID, name string, err error) {
	user, team := text(r.User), text(r.Team)
	switch {
	case (user == "") == (team == ""):
		return "", "", iam.Invalidf("name whose key it is: --user NAME or --team NAME")
	case user != "":
		id, err := s.user(ctx, user)
		return id.PersonalEntity(), "user " + user, err
	default:
		id, err := s.team(ctx, team)
		return id.Entity(), "team " + team, err
	}
}

func (s *Service) setUpstreamKey(ctx context.Context, r request) (any, error) {
	owner, name, err := s.upstreamOwner(ctx, r)
	if err != nil {
		return nil, err
	}
	if text(r.Value) == "" {
		return nil, iam.Invalidf("the key is read from standard input, which is empty: `iam upstream-key set --user NAME < FILE`")
	}
	replaced, err := s.vault.Set(ctx, owner, iam.NewSecret(*r.Value))
	if err != nil {
		return nil, err
	}
	if replaced {
		return done("the key of the W&B server for %s is replaced", name)
	}
	return done("the key of the W&B server for %s is stored", name)
}

func (s *Service) deleteUpstreamKey(ctx context.Context, r request) (any, error) {
	owner, name, err := s.upstreamOwner(ctx, r)
	if err != nil {
		return nil, err
	}
	err = s.vault.Delete(ctx, owner)
	if iam.KindOf(err) == iam.KindNotFound {
		return nil, iam.NotFoundf("no key of the W&B server is stored for %s", name)
	}
	if err != nil {
		return nil, err
	}
	return done("the key of the W&B server for %s is deleted; it is not used any more", name)
}

// listUpstreamKeys lists whose keys are kept.
func (s *Service) listUpstreamKeys(ctx context.Context, _ request) (any, error) {
	names := make(map[iam.EntityID]string)
	rows := []UpstreamKeyRow{}
	err := s.directory.Users(ctx, func(u *iam.User) error { names[u.ID.PersonalEntity()] = u.Username; return nil })
	if err == nil {
		err = s.directory.Teams(ctx, func(t *iam.Team) error { names[t.ID.Entity()] = "team:" + t.Name; return nil })
	}
	if err == nil {
		err = s.vault.List(ctx, func(e vault.Entry) error {
			if name, ok := names[e.Owner]; ok { // else its owner was just deleted, or just made
				rows = append(rows, UpstreamKeyRow{name, e.Set})
			}
			return nil
		})
	}
	slices.SortFunc(rows, func(a, b UpstreamKeyRow) int { return cmp.Compare(a.Owner, b.Owner) })
	return rows, err
}
