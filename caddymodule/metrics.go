package caddymodule

import (
	"net/http"
	"strings"
	"time"

	"github.com/wandb-gateway/wandb-gateway/authz"
	"github.com/wandb-gateway/wandb-gateway/gateway"
	"github.com/wandb-gateway/wandb-gateway/internal/hotcache"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/login"
	"github.com/wandb-gateway/wandb-gateway/internal/metrics"
	"github.com/wandb-gateway/wandb-gateway/internal/wandb/upstream"
	"github.com/wandb-gateway/wandb-gateway/tokenexchange"
)

// measured is what this process counts, under all its configurations one after the other. Caddy makes a
// registry for each of them, and serves the one of the latest that was tried, even if that then failed.
var measured = metrics.New(storesInUse)

// storesInUse tells of the store of the configuration that serves.
func storesInUse() []metrics.Store {
	app := started.latest()
	if app == nil {
		return nil
	}
	s := app.used()
	if s == nil {
		return nil
	}
	stats := s.cache.Stats()
	return []metrics.Store{{
		ContactAge: stats.SinceContact, StaleLimit: time.Duration(s.staleLimit),
		Revision: uint64(stats.Revision), Gaps: stats.Drops, Reads: stats.Loads, Limited: s.limited(),
	}}
}

// used returns the state that the app uses, nil before Start and after Stop.
func (a *App) used() *state {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.state
}

// limited counts what was refused because of too many failures, by what they are counted for. A limit whose
// rate was changed by a reload goes on being counted.
func (s *state) limited() map[string]uint64 {
	refused := make(map[string]uint64)
	s.limits.Range(func(key, limit any) bool {
		name := strings.ReplaceAll(key.(limitKey).what, " ", "_")
		refused[name] += limit.(interface{ Over() uint64 }).Over()
		return true
	})
	return refused
}

func countPropagation(p hotcache.Propagation) { measured.Propagated(p.Commits, p.Took, p.Missed) }

func countRequest(e *gateway.Event) { measured.Request(requestOutcome(e), string(e.Reason)) }

func requestOutcome(e *gateway.Event) metrics.Outcome {
	switch {
	case e.Reason == gateway.ReasonServerUnreachable:
		return metrics.Unanswered
	case e.Shadowed:
		return metrics.Shadowed
	case e.Effect == authz.Deny && e.Status != 0:
		return statusOutcome(e.Status)
	default:
		return metrics.Passed
	}
}

func countExchange(e tokenexchange.Event) {
	measured.Exchange(statusOutcome(e.Status), string(e.Reason))
}

// statusOutcome tells what came of what was answered with a status.
func statusOutcome(status int) metrics.Outcome {
	switch {
	case status >= http.StatusInternalServerError:
		return metrics.Unavailable
	case status == http.StatusTooManyRequests:
		return metrics.Limited
	case status >= http.StatusBadRequest:
		return metrics.Refused
	case status >= http.StatusMultipleChoices:
		return metrics.Redirected
	default:
		return metrics.Passed
	}
}

// countSignIn counts sign-ins that ended, one way or the other; of those that begin, some are never ended.
func countSignIn(e login.Event) {
	switch e.Action {
	case login.ActionSignIn, login.ActionRefused:
		measured.SignIn(string(e.Method), signInOutcome(e.Err), string(e.Reason))
	}
}

func countLookup(o upstream.Outcome) { measured.Lookup(lookupOutcome(o)) }

func lookupOutcome(o upstream.Outcome) metrics.Outcome {
	switch o {
	case upstream.OutcomeAnswered:
		return metrics.Passed
	case upstream.OutcomeRefused:
		return metrics.Refused
	case upstream.OutcomeLimited:
		return metrics.Limited
	case upstream.OutcomeAbandoned:
		return metrics.Abandoned
	case upstream.OutcomeUnavailable:
		return metrics.Unavailable
	default:
		return metrics.Unavailable
	}
}

func signInOutcome(err error) metrics.Outcome {
	if err == nil {
		return metrics.Passed
	}
	switch iam.KindOf(err) {
	case iam.KindInvalid, iam.KindUnauthenticated, iam.KindDenied, iam.KindNotFound, iam.KindConflict, iam.KindTooLarge:
		return metrics.Refused
	case iam.KindTooMany:
		return metrics.Limited
	case iam.KindUnavailable, iam.KindInternal:
		return metrics.Unavailable
	default:
		return metrics.Unavailable
	}
}
