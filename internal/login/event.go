package login

import (
	"github.com/wandb-gateway/wandb-gateway/internal/directory"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/login/identity"
	"github.com/wandb-gateway/wandb-gateway/internal/session"
	"github.com/wandb-gateway/wandb-gateway/internal/untrusted"
)

// Action says what an Event is about.
type Action string

// The actions.
const (
	ActionBegun         Action = "sign_in_begun" // the browser is on its way to the provider
	ActionSignIn        Action = "sign_in"
	ActionRefused       Action = "sign_in_refused"
	ActionSignOut       Action = "sign_out"
	ActionFrontChannel  Action = "front_channel_logout"
	ActionBackChannel   Action = "back_channel_logout"
	ActionLogoutRefused Action = "logout_refused"
	ActionKeyCreated    Action = "api_key_created"
	ActionKeyDeleted    Action = "api_key_deleted"
	ActionSessionEnded  Action = "session_ended"
	ActionTeamsJoined   Action = "teams_joined"

	ActionUpstreamKeySet     Action = "upstream_key_set"
	ActionUpstreamKeyDeleted Action = "upstream_key_deleted"
)

// Event says what happened at a door. It never holds a credential; what came from outside is bounded
// and printable.
type Event struct {
	Action Action
	// Method is how somebody signed in or wanted to. An event of session.MethodRestore is one to raise
	// the alarm on: somebody gets in past single sign-on.
	Method session.Method
	// Reason and Err say why something was refused; Err is for the log only.
	Reason iam.Reason
	Err    error
	// Issuer and Subject are the account at the authority. Login is what somebody typed as log-in name:
	// now and then that is a password that was typed too early, so it is not for everybody to read.
	Issuer, Subject, Login string
	// User is who it is here; zero if nobody knows.
	User     iam.PrincipalRef
	Username string
	// Created and Bound are as in directory.SignedIn; so are the teams.
	Created, Bound bool
	Joined, Left   []string
	Unknown        []string
	// Session and Key are ids, Sessions is how many a logout ended.
	Session  string
	Key      iam.KeyID
	Sessions int
}

const (
	maxEventBytes = 256
	maxEventNames = 64
)

// of notes the account at the authority.
func (e *Event) of(id *identity.Identity) {
	e.Issuer, e.Subject = plain(id.Issuer), plain(id.Subject)
}

// became notes what the directory made of a sign-in.
func (e *Event) became(done *directory.SignedIn) {
	if done == nil {
		return
	}
	e.Created, e.Bound = done.Created, done.Bound
	e.Joined, e.Left = teamNames(done.Joined), teamNames(done.Left)
	for _, name := range done.Unknown[:min(len(done.Unknown), maxEventNames)] {
		e.Unknown = append(e.Unknown, plain(name))
	}
}

func teamNames(teams []iam.TeamRef) []string {
	var names []string
	for _, t := range teams {
		names = append(names, t.Name)
	}
	return names
}

// plain returns a text from outside as it can stand in a log (threats V02).
func plain(s string) string { return untrusted.Line(s, maxEventBytes) }
