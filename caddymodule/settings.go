package caddymodule

import (
	"cmp"
	"maps"
	"slices"

	"go.uber.org/zap"

	"github.com/wandb-gateway/wandb-gateway/authz"
)

// settings are the switches of a deployment after file and environment were read.
type settings struct {
	authz.Settings
	skipAudience bool
}

// readSettings takes the file's values, then W&B's own variables, which win, and says in the log
// which came from where.
func readSettings(a *App, e *environment) (settings, error) {
	s := settings{skipAudience: bool(a.SkipAudienceValidation)}
	s.AnonymousPublicProjects = bool(a.AnonymousPublicProjects)
	s.DisablePersonalEntity = a.PersonalEntities != nil && !bool(*a.PersonalEntities)
	err := cmp.Or(
		read(e, "anonymous_public_projects", &s.AnonymousPublicProjects, asSwitch, "GORILLA_ALLOW_ANONYMOUS_PUBLIC_PROJECTS"),
		read(e, "personal entities off", &s.DisablePersonalEntity, asSwitch, "GORILLA_DISABLE_PERSONAL_ENTITY"),
		read(e, "admin team access", &s.DisableAdminTeamAccess, asSwitch, "GORILLA_DISABLE_ADMIN_TEAM_ACCESS"),
		read(e, "team service accounts", &s.DisableTeamServiceAccounts, asSwitch, "GORILLA_DISABLE_TEAM_SERVICE_ACCOUNT_CREATION"),
		read(e, "team creation", &s.AllowUserTeamCreation, asSwitch, "GORILLA_ALLOW_USER_TEAM_CREATION"),
		read(e, "skip_audience_validation", &s.skipAudience, asSwitch, "SKIP_AUDIENCE_VALIDATION"),
	)
	for _, setting := range slices.Sorted(maps.Keys(e.from)) {
		a.logger.Info("setting comes from the environment", zap.String("setting", setting), zap.String("variable", e.from[setting]), zap.Bool("value", e.switches[setting]))
	}
	return s, err
}
