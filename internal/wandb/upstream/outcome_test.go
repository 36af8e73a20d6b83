package upstream

import (
	"context"
	"errors"
	"fmt"
	"testing"
)

func TestOutcomeOf(t *testing.T) {
	d := &Directory{host: "wandb.acme.test"}
	for name, test := range map[string]struct {
		err  error
		want Outcome
	}{
		"an answer":              {nil, OutcomeAnswered},
		"nothing there":          {fmt.Errorf("%w: no team", errNotFound), OutcomeAnswered},
		"401":                    {errRefused, OutcomeRefused},
		"403":                    {fmt.Errorf("%w: locked", errForbidden), OutcomeRefused},
		"down":                   {d.notAnswering(errors.New("connection refused")), OutcomeUnavailable},
		"late":                   {d.notAnswering(context.DeadlineExceeded), OutcomeUnavailable},
		"not its turn":           {d.busy(nil), OutcomeLimited},
		"its time was up before": {d.busy(context.DeadlineExceeded), OutcomeLimited},
		"the caller went away":   {d.busy(context.Canceled), OutcomeAbandoned},
		"went away meanwhile":    {d.notAnswering(context.Canceled), OutcomeAbandoned},
		"something else":         {errors.New("x"), OutcomeUnavailable},
	} {
		if got := outcomeOf(test.err); got != test.want {
			t.Errorf("%s is %d, want %d", name, got, test.want)
		}
	}
}
