package caddymodule

import (
	"fmt"

	"go.uber.org/zap"

	"github.com/wandb-gateway/wandb-gateway/authz"
)

// settings are the switches of a deployment after file and environment were read.
type settings struct {
	authz.Settings
	personalEntities bool
	skipAudience     bool
}

// readSettings takes the file's values, then W&B's own variables, which win, and says in the log
// which came from where.
func readSettings(a *App) (settings, error) {
	s := settings{personalEntities: a.PersonalEntities == nil || bool(*a.PersonalEntities)}
	s.AnonymousPublicProjects = bool(a.AnonymousPublicProjects)
	s.skipAudience = bool(a.SkipAudienceValidation)
	disablePersonal := !s.personalEntities
	for _, v := range []struct {
		name  string
		value *bool
	}{
		{"GORILLA_ALLOW_ANONYMOUS_PUBLIC_PROJECTS", &s.AnonymousPublicProjects},
		{"GORILLA_DISABLE_PERSONAL_ENTITY", &disablePersonal},
		{"GORILLA_DISABLE_ADMIN_TEAM_ACCESS", &s.DisableAdminTeamAccess},
		{"GORILLA_DISABLE_TEAM_SERVICE_ACCOUNT_CREATION", &s.DisableTeamServiceAccounts},
		{"GORILLA_ALLOW_USER_TEAM_CREATION", &s.AllowUserTeamCreation},
		{"SKIP_AUDIENCE_VALIDATION", &s.skipAudience},
	} {
		before := *v.value
		value, err := environmentSwitch(v.name, before)
		if err != nil {
			return s, fmt.Errorf("wandb_gateway: %w", err)
		}
		if value != before {
			a.logger.Info("setting comes from the environment", zap.String("variable", v.name), zap.Bool("value", value))
		}
		*v.value = value
	}
	s.DisablePersonalEntity = disablePersonal
	s.personalEntities = !disablePersonal
	return s, nil
}
