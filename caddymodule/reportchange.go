package caddymodule

import (
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
