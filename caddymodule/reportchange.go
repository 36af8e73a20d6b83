package caddymodule

import (
	"encoding/json"
	"net/http"

	"go.uber.org/zap"

	"github.com/wandb-gateway/wandb-gateway/internal/accounts"
	"github.com/wandb-gateway/wandb-gateway/internal/directory"
	"github.com/wandb-gateway/wandb-gateway/internal/facts"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/scim"
)

// change is what was done to the gateway's own record, by whatever way: its audit event.
type change struct {
	action string // in the words of W&B's audit log (AUD-5)
	reason iam.Reason
	who    iam.PrincipalRef
	name   string // of who did it
	// requestID and client are not known of what is recorded with an answer.
	requestID, client string
	// team and subject name whom or what it is about.
	team, subject string
	before, after any // the record; nil for what was not there
}

func (c change) log(logger *zap.Logger) {
	logger.Info("directory changed",
		zap.String("action", c.action), zap.String("reason", string(c.reason)),
		zap.String("principal", c.who.String()), zap.String("username", c.name),
		zap.String("request_id", c.requestID), zap.String("client", c.client),
		zap.String("team", c.team), zap.String("subject", bounded(c.subject)),
		zap.Any("before", c.before), zap.Any("after", c.after))
}

// reportAdministration logs what the SDK's administration changed.
func reportAdministration(logger *zap.Logger) func(accounts.Event) {
	return func(e accounts.Event) {
		if e.Vague {
			logger.Warn("the name of a service account does not say what it is for; one like ci-model-training tells whoever finds it here",
				zap.String("team", e.Team), zap.String("subject", e.Subject), zap.String("username", e.ActorName))
		}
		change{
			action: string(e.Action), reason: e.Reason, who: e.Actor, name: e.ActorName, requestID: e.RequestID, client: e.Client.String(),
			team: e.Team, subject: e.Subject, before: e.Before, after: e.After,
		}.log(logger)
	}
}

// reportProvisioning logs what SCIM changed.
func reportProvisioning(logger *zap.Logger) func(*http.Request, scim.Event) {
	return func(r *http.Request, e scim.Event) {
		change{
			action: e.Action, who: e.Principal.Ref, name: e.Principal.Username, requestID: requestID(r), client: clientAddress(r).String(),
			subject: e.Target, before: e.Before, after: e.After,
		}.log(logger)
	}
}

// byCommand is the reason for what the administrator of the machine does: whoever reaches the admin endpoint may.
const byCommand iam.Reason = "admin_endpoint"

// reportCommand logs what a command changed, an import too: a line for each record. Nobody is named, for the
// endpoint asks nobody who they are; client is the address from which it was called.
func reportCommand(logger *zap.Logger, client string) func(directory.Told) {
	return func(t directory.Told) {
		change{
			action: actionOf(t), reason: byCommand, client: client,
			subject: t.Subject, before: orNothing(t.Before), after: orNothing(t.After),
		}.log(logger)
	}
}

// actionOf says what was done to a record in the words of W&B's audit log (AUD-5), as far as it has any.
func actionOf(t directory.Told) string {
	const made, changed, deleted = 0, 1, 2
	done := changed
	switch {
	case t.Before == nil:
		done = made
	case t.After == nil:
		done = deleted
	}
	switch t.Kind {
	case directory.ToldUser:
		switch {
		case t.Deactivates():
			return "user:deactivate"
		case t.Reactivates():
			return "user:reactivate"
		}
		return [...]string{"user:create", "user:update", "user:permanently_delete"}[done]
	case directory.ToldTeam:
		return [...]string{"team:create", "team:update", "team:delete"}[done]
	case directory.ToldProject:
		return [...]string{"project:create", "project:update", "project:delete"}[done]
	case directory.ToldServiceAccount:
		return [...]string{"team:create_service_account", "team:update_service_account", "team:delete_service_account"}[done]
	case directory.ToldKey:
		return [...]string{"user:create_api_key", "user:update_api_key", "user:delete_api_key"}[done]
	case directory.ToldRole:
		return [...]string{"role:create", "role:update", "role:delete"}[done]
	case directory.ToldOrganization:
		return "organization:update"
	default:
		return string(t.Kind)
	}
}

// orNothing keeps a record that is not there from becoming a value that is not nil.
func orNothing(record []byte) any {
	if record == nil {
		return nil
	}
	return json.RawMessage(record)
}

// reportOwnerGone logs that restricted projects have lost their owner, beside the change by which that came.
func reportOwnerGone(logger *zap.Logger) func(directory.OwnerGone) {
	return func(g directory.OwnerGone) {
		logger.Warn("restricted projects are left without their owner and stay closed: an admin of the team names another, with `iam project set --owner`",
			zap.String("action", "project:owner_gone"), zap.String("owner", g.Owner.String()), zap.String("username", g.Name),
			zap.String("team", g.Team), zap.String("state", string(g.State)),
			zap.Strings("projects", g.Projects[:min(len(g.Projects), maxNamed)]), zap.Int("count", len(g.Projects)))
	}
}

// reportProject logs what passed through the gateway and changed the record of a project.
func reportProject(logger *zap.Logger) func(facts.ProjectChange) {
	return func(c facts.ProjectChange) {
		action := "project:update"
		if c.Before == nil {
			action = "project:create"
		}
		who := c.Who
		if who == nil {
			who = new(iam.Principal)
		}
		change{action: action, who: who.Ref, name: who.Username, team: c.Entity, subject: c.After.Name, before: c.Before, after: c.After}.log(logger)
	}
}
