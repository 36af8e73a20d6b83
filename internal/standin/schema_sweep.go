package standin

import (
	"encoding/json"
	"fmt"
	"net/http"
)

var _ = define("Sweep", fields[*sweep]{
	"id":                  func(_ *call, s *sweep, _ arguments) any { return encodeID("Sweep:%d", s.number) },
	"name":                func(_ *call, s *sweep, _ arguments) any { return s.name },
	"displayName":         func(_ *call, s *sweep, _ arguments) any { return textOrNull(s.displayName) },
	"method":              func(_ *call, s *sweep, _ arguments) any { return s.search.method },
	"state":               func(_ *call, s *sweep, _ arguments) any { return s.state },
	"description":         func(_ *call, s *sweep, _ arguments) any { return textOrNull(s.description) },
	"bestLoss":            func(*call, *sweep, arguments) any { return nil },
	"config":              func(_ *call, s *sweep, _ arguments) any { return s.config },
	"controller":          func(_ *call, s *sweep, _ arguments) any { return textOrNull(s.controller) },
	"scheduler":           func(_ *call, s *sweep, _ arguments) any { return textOrNull(s.scheduler) },
	"createdAt":           func(_ *call, s *sweep, _ arguments) any { return stamp(s.created) },
	"updatedAt":           func(_ *call, s *sweep, _ arguments) any { return stamp(s.updated) },
	"heartbeatAt":         func(_ *call, s *sweep, _ arguments) any { return stamp(s.updated) },
	"earlyStopJobRunning": func(*call, *sweep, arguments) any { return false },
	"runCount":            func(_ *call, s *sweep, _ arguments) any { return len(s.runs) },
	"runCountExpected":    func(_ *call, s *sweep, _ arguments) any { return s.search.expected() },
	"project":             func(_ *call, s *sweep, _ arguments) any { return s.project },
	"user":                func(_ *call, s *sweep, _ arguments) any { return s.owner },
	"runs":                func(_ *call, s *sweep, a arguments) any { return page(s.runs, a) },
	"agents":              func(_ *call, s *sweep, a arguments) any { return page(s.agents, a) },
	"agent": func(_ *call, s *sweep, a arguments) any {
		for _, g := range s.agents {
			if g.name == a.text("agentName") {
				return g
			}
		}
		return nil
	},
})

var _ = define("Agent", fields[*agent]{
	"id":          func(_ *call, g *agent, _ arguments) any { return encodeID("Agent:%d", g.number) },
	"name":        func(_ *call, g *agent, _ arguments) any { return g.name },
	"host":        func(_ *call, g *agent, _ arguments) any { return g.host },
	"state":       func(*call, *agent, arguments) any { return "RUNNING" },
	"totalRuns":   func(_ *call, g *agent, _ arguments) any { return len(g.runs) },
	"createdAt":   func(_ *call, g *agent, _ arguments) any { return stamp(g.created) },
	"heartbeatAt": func(_ *call, g *agent, _ arguments) any { return stamp(g.heartbeat) },
	"runs":        func(_ *call, g *agent, a arguments) any { return page(g.runs, a) },
})

var _ = mutation(fields[mutationRoot]{
	"upsertSweep": upsertSweep,
	"createAgent": func(c *call, _ mutationRoot, a arguments) any {
		in := a.object("input")
		t := c.entityOr(in.text("entityName"))
		if t == nil {
			return entityNotFound(in.text("entityName"), "createAgent")
		}
		p := c.state.project(t.name, in.text("projectName"))
		if p == nil || !c.server.mayWrite(c.caller, p) {
			return permissionDenied("running an agent")
		}
		s := p.sweep(in.text("sweep"))
		if s == nil {
			return &statusError{http.StatusNotFound, fmt.Sprintf("sweep %q not found", in.text("sweep"))}
		}
		g := &agent{sweep: s, host: in.text("host"), created: now(), heartbeat: now()}
		g.number = c.state.number(g)
		g.name = fmt.Sprintf("agent%d", g.number)
		s.agents = append(s.agents, g)
		s.state = "RUNNING"
		return payload{"agent": g}
	},
	"agentHeartbeat": func(c *call, _ mutationRoot, a arguments) any {
		in := a.object("input")
		g, ok := find[*agent](c.state, in.text("id"))
		if !ok || !c.server.mayWrite(c.caller, g.sweep.project) {
			return permissionDenied("running an agent")
		}
		g.heartbeat = now()
		return payload{"agent": g, "commands": asJSON(c.commands(g, in.text("runState")))}
	},
})

// upsertSweep creates a sweep, or changes the one that id names: by node id or by name.
func upsertSweep(c *call, _ mutationRoot, a arguments) any {
	in := a.object("input")
	s, err := c.sweepFor(in)
	if err != nil {
		return err
	}
	if !c.server.mayWrite(c.caller, s.project) {
		return permissionDenied("writing sweeps")
	}
	if s.number == 0 {
		s.number = c.state.number(s)
		s.project.sweeps = append(s.project.sweeps, s)
	}
	for name, field := range map[string]*string{
		"config": &s.config, "state": &s.state, "description": &s.description, "displayName": &s.displayName,
		"controller": &s.controller, "scheduler": &s.scheduler,
	} {
		if in.given(name) {
			*field = in.text(name)
		}
	}
	s.search, s.updated = parseSearch(s.config), now()
	return payload{"sweep": s, "configValidationWarnings": []string{}}
}

// sweepFor finds the sweep of an input, or returns a new one without a number.
func (c *call) sweepFor(in arguments) (*sweep, error) {
	if s, ok := find[*sweep](c.state, in.text("id")); ok {
		return s, nil
	}
	p, err := c.projectFor(arguments{"entityName": in["entityName"], "modelName": in["projectName"]})
	if err != nil {
		return nil, err
	}
	if s := p.sweep(in.text("id")); s != nil {
		return s, nil
	}
	return &sweep{project: p, name: newSecret()[:8], state: "PENDING", owner: c.owner(), created: now()}, nil
}

// commands tells an agent what to do next: one run after the other, then to go.
func (c *call) commands(g *agent, runState string) []map[string]any {
	s := g.sweep
	if s.state == "STOPPED" || s.state == "CANCELED" || s.state == "FINISHED" {
		return []map[string]any{{"type": "exit"}}
	}
	if busy(runState) || s.state == "PAUSED" {
		return []map[string]any{}
	}
	args, ok := s.search.next(len(s.runs))
	if !ok {
		s.state = "FINISHED"
		return []map[string]any{{"type": "exit"}}
	}
	r := c.newRun(s.project, arguments{"sweep": s.name})
	r.state, r.agent = "pending", g
	g.runs = append(g.runs, r)
	return []map[string]any{{"type": "run", "run_id": r.name, "args": args}}
}

// busy reports whether the agent has a run under way: {"run": true} for every one that lives.
func busy(runState string) bool {
	var runs map[string]bool
	if json.Unmarshal([]byte(runState), &runs) != nil {
		return false
	}
	for _, alive := range runs {
		if alive {
			return true
		}
	}
	return false
}

// adopt makes the run one of the sweep's.
func (s *sweep) adopt(r *run) {
	r.sweep = s
	s.runs = append(s.runs, r)
}
