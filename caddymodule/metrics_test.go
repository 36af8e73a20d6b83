package caddymodule

import (
	"errors"
	"net/http"
	"testing"

	"go.uber.org/zap"

	"github.com/wandb-gateway/wandb-gateway/authz"
	"github.com/wandb-gateway/wandb-gateway/gateway"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/metrics"
)

func TestRequestOutcomes(t *testing.T) {
	for name, test := range map[string]struct {
		event gateway.Event
		want  metrics.Outcome
	}{
		"allowed":              {gateway.Event{Effect: authz.Allow}, metrics.Passed},
		"a preflight":          {gateway.Event{}, metrics.Passed},
		"denied":               {gateway.Event{Status: 403}, metrics.Refused},
		"malformed":            {gateway.Event{Status: 400}, metrics.Refused},
		"over a limit":         {gateway.Event{Status: 429}, metrics.Limited},
		"to sign-in":           {gateway.Event{Status: 302}, metrics.Redirected},
		"nobody can tell":      {gateway.Event{Status: 503}, metrics.Unavailable},
		"the gateway's fault":  {gateway.Event{Status: 500}, metrics.Unavailable},
		"shadow":               {gateway.Event{Shadowed: true}, metrics.Shadowed},
		"the server is silent": {gateway.Event{Effect: authz.Allow, Status: 502, Reason: gateway.ReasonServerUnreachable}, metrics.Unanswered},
	} {
		if got := requestOutcome(&test.event); got != test.want {
			t.Errorf("%s is %q, want %q", name, got, test.want)
		}
	}
}

func TestSignInOutcomes(t *testing.T) {
	for kind, want := range map[iam.Kind]metrics.Outcome{
		iam.KindInternal: metrics.Unavailable, iam.KindInvalid: metrics.Refused, iam.KindUnauthenticated: metrics.Refused,
		iam.KindDenied: metrics.Refused, iam.KindNotFound: metrics.Refused, iam.KindConflict: metrics.Refused,
		iam.KindUnavailable: metrics.Unavailable, iam.KindTooLarge: metrics.Refused, iam.KindTooMany: metrics.Limited,
		iam.Kind(200): metrics.Unavailable,
	} {
		if got := signInOutcome(&iam.Error{Kind: kind}); got != want {
			t.Errorf("kind %d is %q, want %q", kind, got, want)
		}
	}
	if got := signInOutcome(errors.New("x")); got != metrics.Unavailable {
		t.Errorf("an error without a kind is %q", got)
	}
	if got := signInOutcome(nil); got != metrics.Passed {
		t.Errorf("no error is %q", got)
	}
}

// TestReportAllocatesNothing: a request that passes costs no memory for being counted, nor for a log that
// does not want to hear of it.
func TestReportAllocatesNothing(t *testing.T) {
	h := &Handler{logger: zap.NewNop()}
	r, _ := http.NewRequest(http.MethodGet, "/", nil)
	event := &gateway.Event{Effect: authz.Allow, Reason: authz.ReasonTeamMember}
	if n := testing.AllocsPerRun(100, func() { h.report(r, event) }); n != 0 {
		t.Errorf("%g allocations", n)
	}
}

func BenchmarkReport(b *testing.B) {
	h := &Handler{logger: zap.NewNop()}
	r, _ := http.NewRequest(http.MethodGet, "/", nil)
	event := &gateway.Event{Effect: authz.Allow, Reason: authz.ReasonTeamMember}
	b.ReportAllocs()
	for b.Loop() {
		h.report(r, event)
	}
}
