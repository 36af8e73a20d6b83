package admin

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/session"
)

// SessionRow is what a list shows of a browser's session. Its cookie is kept nowhere.
type SessionRow struct {
	ID        string         `json:"id"`
	Owner     string         `json:"owner"`
	Method    session.Method `json:"method"`
	Created   time.Time      `json:"created"`
	Expires   time.Time      `json:"expires"`
	Client    string         `json:"client"`
	UserAgent string         `json:"user_agent"`
}

func (s *Service) listSessions(ctx context.Context, r request) (any, error) {
	var owner iam.PrincipalRef
	if r.Owner != nil {
		var err error
		if owner, err = s.requiredOwner(ctx, r); err != nil {
			return nil, err
		}
	}
	rows := []SessionRow{}
	err := s.sessions.List(ctx, owner, func(x *session.Session) error {
		p, err := s.directory.Principal(ctx, x.Principal)
		switch {
		case iam.KindOf(err) == iam.KindUnauthenticated:
			return nil // deleted since
		case err != nil:
			return err
		case !p.Active || !x.Holds(p):
			return nil // ended with the person's other sessions; its record goes with its end
		}
		rows = append(rows, SessionRow{x.ID, p.Username, x.Method, x.Created, x.Expires, x.Client.String(), x.UserAgent})
		return nil
	})
	slices.SortFunc(rows, func(a, b SessionRow) int {
		return cmp.Or(cmp.Compare(a.Owner, b.Owner), a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID))
	})
	return rows, err
}

func (s *Service) deleteSession(ctx context.Context, r request) (any, error) {
	ended, err := s.sessions.EndByID(ctx, iam.PrincipalRef{}, r.Target)
	if err != nil {
		return nil, err
	}
	return done("session %s ended; the browser has to sign in again", ended.ID)
}
