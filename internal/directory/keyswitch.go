package directory

import "github.com/wandb-gateway/wandb-gateway/internal/iam"

// ReasonKeyCreationDisabled is the reason for making no new key.
const ReasonKeyCreationDisabled iam.Reason = "api_key_creation_disabled"

// errKeyCreationDisabled is in W&B's own words (KEY-12).
var errKeyCreationDisabled = &iam.Error{Kind: iam.KindDenied, Reason: ReasonKeyCreationDisabled,
	Message: "API key creation has been disabled by your organization administrator. You can still edit, delete, and use existing API keys."}

// mintKey is putKey for a key that nobody had before.
func (tx *transaction) mintKey(n NewKey, key iam.Secret) (Change[Key], error) {
	if tx.d.noNewKeys {
		if n.Owner.Kind != iam.KindServiceAccount {
			return Change[Key]{}, errKeyCreationDisabled
		}
		a, err := tx.serviceAccount(iam.ServiceAccountID(n.Owner.ID))
		if err != nil {
			return Change[Key]{}, err
		}
		if a.Team != "" {
			return Change[Key]{}, errKeyCreationDisabled
		}
	}
	return tx.putKey(n, key)
}
