package directory

import (
	"context"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// EndCredentials ends all sessions and access tokens of a principal at once, on every node, and for
// good; its API keys stay. Whoever can sign in or exchange an assertion can do so again. A reference
// to nobody is iam.KindNotFound.
func (d *Directory) EndCredentials(ctx context.Context, ref iam.PrincipalRef) error {
	return d.change(ctx, func(tx *transaction) error {
		switch ref.Kind {
		case iam.KindUser:
			u, err := tx.user(iam.UserID(ref.ID))
			if err != nil {
				return err
			}
			u.Epoch++
			return tx.putUser(u)
		case iam.KindServiceAccount:
			a, err := tx.serviceAccount(iam.ServiceAccountID(ref.ID))
			if err != nil {
				return err
			}
			a.Epoch++
			return tx.put(tx.d.names.serviceAccount(a.ID), a)
		case iam.Anonymous:
			return errEndsNobody
		default:
			return errEndsNobody
		}
	})
}

var errEndsNobody = iam.Invalidf("name the user or the service account whose sessions and access tokens are to end")
