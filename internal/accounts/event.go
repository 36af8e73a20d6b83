package accounts

import (
	"net/netip"

	"github.com/wandb-gateway/wandb-gateway/internal/directory"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// Action says what was changed, in W&B's own words for its audit log (AUD-5).
type Action string

// The actions. The last one has no word there.
const (
	ActionUserCreated    Action = "user:create"
	ActionTeamCreated    Action = "team:create"
	ActionInvited        Action = "team:invite_user"
	ActionUninvited      Action = "team:uninvite"
	ActionAccountCreated Action = "team:create_service_account"
	ActionKeyCreated     Action = "user:create_api_key"
	ActionKeyDeleted     Action = "user:delete_api_key"
	ActionAccountDeleted Action = "team:delete_service_account"
)

// Event is one change, as the audit log has it: who did what, by which right, and how it was before and is
// now. It never holds a key.
type Event struct {
	Action    Action
	Actor     iam.PrincipalRef
	ActorName string
	// Reason is that of the decision.
	Reason    iam.Reason
	Client    netip.Addr
	RequestID string
	// Team and Subject name whom it is about; either may be empty.
	Team, Subject string
	// Vague says that the name of what was made does not say what it is for (BP-5). The SDK has no place to warn.
	Vague bool
	// Before and After are records, nil for what was not there.
	Before, After any
}

// madeTeam is a team with its first members.
type madeTeam struct {
	*iam.Team
	Members []directory.TeamMember `json:"members"`
}

// report tells of a change.
func (q question) report(a *Accounts, e Event) {
	e.Actor, e.ActorName = q.Who.Ref, q.Who.Username
	e.Reason, e.Client, e.RequestID = q.Reason, q.Client, q.RequestID
	a.Report(e)
}

// record keeps a record that is not there from becoming a value that is not nil.
func record[T any](r *T) any {
	if r == nil {
		return nil
	}
	return r
}
