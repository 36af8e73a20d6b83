package standin

import (
	"cmp"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"path"
	"slices"
	"strings"
)

var _ = define("Project", fields[*project]{
	"id":                              func(_ *call, p *project, _ arguments) any { return encodeID("Project:v1:%s:%s", p.name, p.entity.name) },
	"internalId":                      func(_ *call, p *project, _ arguments) any { return encodeID("ProjectInternalId:%d", p.number) },
	"name":                            func(_ *call, p *project, _ arguments) any { return p.name },
	"entityName":                      func(_ *call, p *project, _ arguments) any { return p.entity.name },
	"entity":                          func(_ *call, p *project, _ arguments) any { return p.entity },
	"access":                          func(_ *call, p *project, _ arguments) any { return p.access },
	"description":                     func(_ *call, p *project, _ arguments) any { return textOrNull(p.description) },
	"views":                           func(_ *call, p *project, _ arguments) any { return textOrNull(p.views) },
	"createdAt":                       func(_ *call, p *project, _ arguments) any { return stamp(p.created) },
	"updatedAt":                       func(_ *call, p *project, _ arguments) any { return stamp(p.created) },
	"isBenchmark":                     func(*call, *project, arguments) any { return false },
	"readOnly":                        func(c *call, p *project, _ arguments) any { return !c.server.mayWrite(c.caller, p) },
	"user":                            func(_ *call, p *project, _ arguments) any { return p.owner },
	"tags":                            func(_ *call, p *project, a arguments) any { return page([]payload{}, a) },
	"allowAllArtifactTypesInRegistry": func(*call, *project, arguments) any { return true },
	"members": func(_ *call, p *project, _ arguments) any {
		out := []payload{}
		for _, u := range p.invited {
			out = append(out, payload{"id": encodeID("User:%d", u.number), "name": u.name, "username": u.username,
				"email": textOrNull(u.email), "role": payload{"name": "member"}, "user": u})
		}
		return out
	},
	"teamMembers": func(*call, *project, arguments) any { return []payload{} },
	"runCount":    func(_ *call, p *project, a arguments) any { return len(p.filtered(a)) },
	"runs":        func(_ *call, p *project, a arguments) any { return page(p.filtered(a), a) },
	"buckets":     func(_ *call, p *project, a arguments) any { return page(p.filtered(a), a) },
	"run":         findRun,
	"bucket":      findRun,
	"sweep":       func(_ *call, p *project, a arguments) any { return p.sweep(a.text("sweepName")) },
	"totalSweeps": func(_ *call, p *project, _ arguments) any { return len(p.sweeps) },
	"sweeps":      func(_ *call, p *project, a arguments) any { return page(p.sweeps, a) },
	"artifact": func(_ *call, p *project, a arguments) any {
		if m := p.membership(a.text("name")); m != nil {
			return m.artifact
		}
		return nil
	},
	"artifactCollectionMembership": func(_ *call, p *project, a arguments) any { return p.membership(a.text("name")) },
	"artifactCollection":           func(_ *call, p *project, a arguments) any { return p.collection(a.text("name")) },
	"artifactCollections":          func(_ *call, p *project, a arguments) any { return page(p.live(""), a) },
	"artifactTypes":                func(_ *call, p *project, a arguments) any { return page(p.kinds(), a) },
	"artifactType": func(_ *call, p *project, a arguments) any {
		for _, k := range p.kinds() {
			if k.name == a.text("name") {
				return k
			}
		}
		return nil
	},
	"allViews":  func(_ *call, p *project, a arguments) any { return page(p.reports, a) },
	"runQueues": func(*call, *project, arguments) any { return []payload{} },
	"runQueue":  func(*call, *project, arguments) any { return nil },
}, "Model")

func findRun(_ *call, p *project, a arguments) any { return p.run(a.text("name")) }

// filtered lists the runs that match the argument filters, newest first. Only what clients send
// by themselves is understood: equality on top-level names and state, joined by $and.
func (p *project) filtered(a arguments) []*run {
	var filter map[string]any
	json.Unmarshal([]byte(a.text("filters")), &filter)
	var out []*run
	for _, r := range slices.Backward(p.runs) {
		if r.matches(filter) {
			out = append(out, r)
		}
	}
	if order := a.text("order"); strings.HasPrefix(order, "+created") {
		slices.Reverse(out)
	}
	return out
}

func (r *run) matches(filter map[string]any) bool {
	for name, want := range filter {
		var got any
		switch name {
		case "$and":
			parts, _ := want.([]any)
			for _, part := range parts {
				if sub, ok := part.(map[string]any); ok && !r.matches(sub) {
					return false
				}
			}
			continue
		case "$or":
			parts, _ := want.([]any)
			if !slices.ContainsFunc(parts, func(part any) bool {
				sub, ok := part.(map[string]any)
				return ok && r.matches(sub)
			}) {
				return false
			}
			continue
		case "name":
			got = r.name
		case "displayName", "display_name":
			got = r.displayName
		case "state":
			got = r.state
		case "group":
			got = r.group
		case "jobType", "job_type":
			got = r.jobType
		case "username":
			got = r.owner()
		case "sweep":
			got = ""
			if r.sweep != nil {
				got = r.sweep.name
			}
		default:
			continue
		}
		if got != want {
			return false
		}
	}
	return true
}

func (r *run) owner() string {
	if r.user == nil {
		return ""
	}
	return r.user.username
}

var _ = define("Run", fields[*run]{
	"id":               func(_ *call, r *run, _ arguments) any { return r.id() },
	"internalId":       func(_ *call, r *run, _ arguments) any { return encodeID("RunInternalId:%d", r.number) },
	"projectId":        func(_ *call, r *run, _ arguments) any { return r.project.number },
	"name":             func(_ *call, r *run, _ arguments) any { return r.name },
	"displayName":      func(_ *call, r *run, _ arguments) any { return textOrNull(r.displayName) },
	"description":      func(_ *call, r *run, _ arguments) any { return textOrNull(r.description) },
	"notes":            func(_ *call, r *run, _ arguments) any { return textOrNull(r.notes) },
	"group":            func(_ *call, r *run, _ arguments) any { return textOrNull(r.group) },
	"groupName":        func(_ *call, r *run, _ arguments) any { return textOrNull(r.group) },
	"jobType":          func(_ *call, r *run, _ arguments) any { return textOrNull(r.jobType) },
	"commit":           func(_ *call, r *run, _ arguments) any { return textOrNull(r.commit) },
	"host":             func(_ *call, r *run, _ arguments) any { return textOrNull(r.host) },
	"state":            func(_ *call, r *run, _ arguments) any { return r.state },
	"tags":             func(_ *call, r *run, _ arguments) any { return orEmpty(r.tags) },
	"config":           func(_ *call, r *run, _ arguments) any { return r.configText() },
	"summaryMetrics":   func(_ *call, r *run, _ arguments) any { return cmp.Or(r.summary, "{}") },
	"systemMetrics":    func(_ *call, r *run, _ arguments) any { return lastOr(r.events, "{}") },
	"historyKeys":      func(_ *call, r *run, _ arguments) any { return r.historyKeys() },
	"historyLineCount": func(_ *call, r *run, _ arguments) any { return len(r.history) },
	"eventsLineCount":  func(_ *call, r *run, _ arguments) any { return len(r.events) },
	"logLineCount":     func(_ *call, r *run, _ arguments) any { return len(r.logs) },
	"historyTail":      func(_ *call, r *run, _ arguments) any { return tail(r.history) },
	"eventsTail":       func(_ *call, r *run, _ arguments) any { return tail(r.events) },
	"createdAt":        func(_ *call, r *run, _ arguments) any { return stamp(r.created) },
	"updatedAt":        func(_ *call, r *run, _ arguments) any { return stamp(r.heartbeat) },
	"heartbeatAt":      func(_ *call, r *run, _ arguments) any { return stamp(r.heartbeat) },
	"readOnly":         func(c *call, r *run, _ arguments) any { return !c.server.mayWrite(c.caller, r.project) },
	"user":             func(_ *call, r *run, _ arguments) any { return r.user },
	"project":          func(_ *call, r *run, _ arguments) any { return r.project },
	"stopped":          func(_ *call, r *run, _ arguments) any { return r.stopped },
	"shouldStop":       func(_ *call, r *run, _ arguments) any { return r.stopped },
	"running":          func(_ *call, r *run, _ arguments) any { return r.state == "running" },
	"failed":           func(_ *call, r *run, _ arguments) any { return r.state == "failed" },
	"exitcode":         func(_ *call, r *run, _ arguments) any { return r.exitCode },
	"benchmarkRun":     func(*call, *run, arguments) any { return nil },
	"github":           func(*call, *run, arguments) any { return nil },
	"sweepName": func(_ *call, r *run, _ arguments) any {
		if r.sweep == nil {
			return nil
		}
		return r.sweep.name
	},
	"sweep": func(_ *call, r *run, _ arguments) any { return r.sweep },
	"runInfo": func(_ *call, r *run, _ arguments) any {
		return payload{"program": r.program, "args": []string{}, "os": "", "python": "", "gpuCount": 0, "gpu": ""}
	},
	// The client wants to see key t: without it a run counts as never started.
	"wandbConfig": func(_ *call, r *run, a arguments) any {
		inner, _ := r.config["_wandb"].(map[string]any)
		value, _ := inner["value"].(map[string]any)
		return asJSON(map[string]any{"t": value["t"]})
	},
	"history": func(_ *call, r *run, a arguments) any {
		if a.given("minStep") || a.given("maxStep") {
			return between(r.history, a.number("minStep", 0), a.number("maxStep", 1<<53))
		}
		return sample(r.history, a.number("samples", 500))
	},
	"events":         func(_ *call, r *run, a arguments) any { return sample(r.events, a.number("samples", 500)) },
	"sampledHistory": func(_ *call, r *run, a arguments) any { return r.sampled(a.texts("specs")) },
	"parquetHistory": func(_ *call, r *run, _ arguments) any {
		live := []any{}
		for _, line := range r.history {
			live = append(live, json.RawMessage(line))
		}
		return payload{"parquetUrls": []string{}, "liveData": live}
	},
	"logLines": func(_ *call, r *run, a arguments) any {
		lines := make([]payload, len(r.logs))
		for i, text := range r.logs {
			lines[i] = payload{"number": i, "timestamp": nil, "level": nil, "label": nil, "line": text}
		}
		if last := a.number("last", 0); last > 0 && last < len(lines) {
			lines = lines[len(lines)-last:]
		}
		return page(lines, a)
	},
	"fileCount":       func(_ *call, r *run, _ arguments) any { return len(r.files) },
	"files":           func(c *call, r *run, a arguments) any { return page(r.listed(c, a), a) },
	"inputArtifacts":  func(c *call, r *run, a arguments) any { return page(c.readable(r.used), a) },
	"outputArtifacts": func(c *call, r *run, a arguments) any { return page(c.readable(r.logged), a) },
})

func orEmpty(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

func lastOr(lines []string, none string) string {
	if len(lines) == 0 {
		return none
	}
	return lines[len(lines)-1]
}

func asJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return "null"
	}
	return string(b)
}

// tail is a JSON list, as a string, of the last line.
func tail(lines []string) string {
	return asJSON(orEmpty(lines[max(0, len(lines)-1):]))
}

func (r *run) configText() string {
	if r.config == nil {
		return "{}"
	}
	return asJSON(r.config)
}

// historyKeys tells which metrics were logged, with which types and which last value.
func (r *run) historyKeys() any {
	keys := map[string]any{}
	last := -1
	for _, line := range r.history {
		var row map[string]any
		if json.Unmarshal([]byte(line), &row) != nil {
			continue
		}
		if step, ok := row["_step"].(float64); ok {
			last = int(step)
		}
		noteKeys(keys, "", row, 0)
	}
	return map[string]any{"keys": keys, "sets": []any{}, "lastStep": last}
}

// noteKeys adds the row's values; those of inner objects under dotted names.
func noteKeys(keys map[string]any, prefix string, row map[string]any, depth int) {
	for name, v := range row {
		kind := "string"
		switch v := v.(type) {
		case float64:
			kind = "number"
		case map[string]any:
			if depth < 4 && v["_type"] == nil {
				noteKeys(keys, prefix+name+".", v, depth+1)
				continue
			}
			kind = "map"
		}
		keys[prefix+name] = map[string]any{
			"typeCounts":    []any{map[string]any{"type": kind, "count": 1}},
			"monotonic":     strings.HasPrefix(name, "_"),
			"previousValue": v,
		}
	}
}

// between lists the lines whose step is in [from, to).
func between(lines []string, from, to int) []string {
	out := []string{}
	for i, line := range lines {
		step := i
		var row struct {
			Step *int `json:"_step"`
		}
		if json.Unmarshal([]byte(line), &row) == nil && row.Step != nil {
			step = *row.Step
		}
		if step >= from && step < to {
			out = append(out, line)
		}
	}
	return out
}

// sample keeps at most n lines, evenly spread, the last one always.
func sample(lines []string, n int) []string {
	if n <= 0 || len(lines) <= n {
		return orEmpty(lines)
	}
	out := make([]string, 0, n)
	for i := range n {
		out = append(out, lines[(i+1)*len(lines)/n-1])
	}
	return out
}

// sampled answers one list of rows for every spec {"keys":[...],"samples":n}.
func (r *run) sampled(specs []string) any {
	out := []any{}
	for _, text := range specs {
		var spec struct {
			Keys    []string `json:"keys"`
			Samples int      `json:"samples"`
			MinStep *int     `json:"minStep"`
			MaxStep *int     `json:"maxStep"`
		}
		if err := json.Unmarshal([]byte(text), &spec); err != nil {
			return fmt.Errorf("specs: %w", err)
		}
		lines := r.history
		if spec.MinStep != nil && spec.MaxStep != nil {
			lines = between(lines, *spec.MinStep, *spec.MaxStep+1) // here the end is meant to be included
		}
		rows := []map[string]any{}
		for _, line := range lines {
			if row := pick(line, spec.Keys); row != nil {
				rows = append(rows, row)
			}
		}
		if n := spec.Samples; n > 0 && len(rows) > n {
			rows = rows[len(rows)-n:]
		}
		out = append(out, rows)
	}
	return out
}

// pick returns the named values of a line; nil if one is missing.
func pick(line string, keys []string) map[string]any {
	var row map[string]any
	if json.Unmarshal([]byte(line), &row) != nil {
		return nil
	}
	if len(keys) == 0 {
		return row
	}
	out := make(map[string]any, len(keys))
	for _, k := range keys {
		v, ok := row[k]
		if !ok {
			return nil
		}
		out[k] = v
	}
	return out
}

// listed are the run's files that names and pattern select. Names that do not exist yet are
// listed when upload URLs are wanted for them, which only writers get.
func (r *run) listed(c *call, a arguments) []*file {
	names := a.texts("names")
	if len(names) == 0 {
		var out []*file
		for _, f := range r.files {
			if ok, _ := path.Match(strings.ReplaceAll(a.textOr("pattern", "*"), "%", "*"), f.name); ok || !a.given("pattern") {
				out = append(out, f)
			}
		}
		return out
	}
	var out []*file
	for _, name := range names {
		name = path.Clean(name)
		if f := r.file(name); f != nil {
			out = append(out, f)
		} else if c.server.mayWrite(c.caller, r.project) {
			out = append(out, &file{run: r, name: name})
		}
	}
	return out
}

var _ = define("File", fields[*file]{
	"id":          func(_ *call, f *file, _ arguments) any { return encodeID("File:v1:%s:%s", f.run.name, f.name) },
	"name":        func(_ *call, f *file, _ arguments) any { return f.name },
	"displayName": func(_ *call, f *file, _ arguments) any { return f.name },
	"sizeBytes":   func(c *call, f *file, _ arguments) any { return len(c.state.blobs[f.blob()]) },
	"mimetype":    func(_ *call, f *file, _ arguments) any { return textOrNull(mime.TypeByExtension(path.Ext(f.name))) },
	"updatedAt":   func(_ *call, f *file, _ arguments) any { return stamp(f.updated) },
	"md5":         func(c *call, f *file, _ arguments) any { return f.md5(c) },
	"digest":      func(c *call, f *file, _ arguments) any { return f.md5(c) },
	"storagePath": func(_ *call, f *file, _ arguments) any { return f.blob() },
	"directUrl":   func(c *call, f *file, _ arguments) any { return c.signedURL(http.MethodGet, f.blob()) },
	"url": func(c *call, f *file, a arguments) any {
		if a.truth("upload") {
			return f.upload(c)
		}
		return c.base + "/files/" + strings.Join(segments(f.run.project.entity.name, f.run.project.name, f.run.name, f.name), "/")
	},
	"uploadUrl":     func(c *call, f *file, _ arguments) any { return f.upload(c) },
	"uploadHeaders": func(*call, *file, arguments) any { return []string{} },
})

func (f *file) md5(c *call) any {
	content, ok := c.state.blobs[f.blob()]
	if !ok {
		return nil
	}
	return md5Of(content)
}

// upload registers the file with its run and returns where to put it.
func (f *file) upload(c *call) any {
	if !c.server.mayWrite(c.caller, f.run.project) {
		return permissionDenied("uploading to the run")
	}
	if f.run.file(f.name) == nil {
		f.updated = now()
		f.run.files = append(f.run.files, f)
	}
	return c.signedURL(http.MethodPut, f.blob())
}

var _ = mutation(fields[mutationRoot]{
	"upsertBucket": upsertBucket,
	"upsertModel":  upsertModel,
	"deleteModel": func(c *call, _ mutationRoot, a arguments) any {
		for _, p := range c.state.projects {
			if encodeID("Project:v1:%s:%s", p.name, p.entity.name) == a.object("input").text("id") && !p.deleted {
				if !c.server.mayManage(c.caller, p.entity) {
					return permissionDenied("deleting the project")
				}
				p.deleted = true
				return payload{"success": true}
			}
		}
		return fmt.Errorf("no such project")
	},
	"createRunFiles": func(c *call, _ mutationRoot, a arguments) any {
		in := a.object("input")
		r, err := c.writable(in.text("entityName"), in.text("projectName"), in.text("runName"))
		if err != nil {
			return err
		}
		files := []*file{}
		for _, name := range in.texts("files") {
			files = append(files, cmp.Or(r.file(name), &file{run: r, name: name}))
		}
		return payload{"runID": r.id(), "uploadHeaders": []string{}, "files": files}
	},
	"markRunFilesUploaded": func(c *call, _ mutationRoot, a arguments) any {
		in := a.object("input")
		if _, err := c.writable(in.text("entityName"), in.text("projectName"), in.text("runName")); err != nil {
			return err
		}
		return payload{"success": true}
	},
	"deleteFiles": func(c *call, _ mutationRoot, a arguments) any {
		ids := a.object("input").texts("files")
		for _, p := range c.state.projects {
			if !c.server.mayWrite(c.caller, p) {
				continue
			}
			for _, r := range p.runs {
				r.files = slices.DeleteFunc(r.files, func(f *file) bool {
					return slices.Contains(ids, encodeID("File:v1:%s:%s", f.run.name, f.name))
				})
			}
		}
		return payload{"success": true}
	},
	"moveRuns": moveRuns,
	"stopRun": func(c *call, _ mutationRoot, a arguments) any {
		r, err := c.writableByID(a.object("input").text("id"))
		if err != nil {
			return err
		}
		r.stopped = true
		return payload{"success": true, "clientMutationId": nil}
	},
	"deleteRun": func(c *call, _ mutationRoot, a arguments) any {
		r, err := c.writableByID(a.object("input").text("id"))
		if err != nil {
			return err
		}
		r.project.runs = slices.DeleteFunc(r.project.runs, func(other *run) bool { return other == r })
		return payload{"clientMutationId": nil}
	},
	"updateRunState": func(c *call, _ mutationRoot, a arguments) any {
		r, err := c.writableByID(a.object("input").text("id"))
		if err != nil {
			return err
		}
		r.state = strings.ToLower(a.object("input").text("state"))
		return payload{"success": true}
	},
	"rewindRun": func(c *call, _ mutationRoot, a arguments) any {
		in := a.object("input")
		r, err := c.writable(in.text("entityName"), in.text("projectName"), in.text("runName"))
		if err != nil {
			return err
		}
		r.history = between(r.history, 0, in.number("metricValue", 0)+1)
		r.state, r.exitCode = "running", nil
		return payload{"rewoundRun": r}
	},
	"notifyScriptableRunAlert": func(c *call, _ mutationRoot, a arguments) any {
		in := a.object("input")
		if _, err := c.writable(in.text("entityName"), in.text("projectName"), in.text("runName")); err != nil {
			return err
		}
		return payload{"success": true}
	},
	"createCustomChart": func(c *call, _ mutationRoot, a arguments) any {
		return payload{"chart": payload{"id": encodeID("CustomChart:1")}}
	},
})

// moveRuns moves the runs of a project that filters pick, with their files, at once. The shape is that of the
// types generated for W&B's own web page (weave-js/src/generated/graphql.ts in wandb/weave): MoveRunsInput and
// MoveRunsPayload. The server does it in a task, after it has answered.
func moveRuns(c *call, _ mutationRoot, a arguments) any {
	in := a.object("input")
	from := c.state.project(in.text("sourceEntityName"), in.text("sourceProjectName"))
	if from == nil || !c.server.mayWrite(c.caller, from) {
		return permissionDenied("moving runs out of the project")
	}
	if !json.Valid([]byte(in.text("filters"))) {
		return fmt.Errorf("filters are no JSON")
	}
	to, err := c.projectFor(arguments{"entityName": in.text("destinationEntityName"), "modelName": in.text("destinationProjectName")})
	if err != nil {
		return err
	}
	if !c.server.mayWrite(c.caller, to) {
		return permissionDenied("moving runs into the project")
	}
	moved := from.filtered(in)
	for _, r := range moved {
		r.project = to
		to.runs = append(to.runs, r)
	}
	from.runs = slices.DeleteFunc(from.runs, func(r *run) bool { return r.project != from })
	return payload{"clientMutationId": nil, "task": payload{"id": encodeID("Task:%d", len(moved)), "name": "MoveRuns", "state": "FINISHED", "progress": nil, "result": nil}}
}

// writable finds a run that the caller may write to.
func (c *call) writable(entity, project, name string) (*run, error) {
	t := c.entityOr(entity)
	if t == nil {
		return nil, entityNotFound(entity, "the run's look-up")
	}
	p := c.state.project(t.name, project)
	if p == nil || !c.server.mayRead(c.caller, p) || p.run(name) == nil {
		return nil, &statusError{http.StatusNotFound, fmt.Sprintf("run %s/%s/%s not found", t.name, project, name)}
	}
	if !c.server.mayWrite(c.caller, p) {
		return nil, permissionDenied("writing to " + t.name + "/" + project)
	}
	return p.run(name), nil
}

func (c *call) writableByID(id string) (*run, error) {
	r := c.state.runByID(id)
	if r == nil || !c.server.mayRead(c.caller, r.project) {
		return nil, &statusError{http.StatusNotFound, "run not found"}
	}
	if !c.server.mayWrite(c.caller, r.project) {
		return nil, permissionDenied("writing to the run")
	}
	return r, nil
}

// upsertBucket creates or changes a run, and its project when that is missing.
func upsertBucket(c *call, _ mutationRoot, a arguments) any {
	in := a.object("input")
	r := c.state.runByID(in.text("id"))
	if in.given("id") && !in.given("name") {
		if r == nil || !c.server.mayRead(c.caller, r.project) {
			return &statusError{http.StatusNotFound, "run not found during upsertBucket"}
		}
	}
	if r == nil {
		p, err := c.projectFor(in)
		if err != nil {
			return err
		}
		r = p.run(in.text("name"))
		if r == nil {
			if !c.server.mayWrite(c.caller, p) {
				return permissionDenied("creating runs in " + p.entity.name + "/" + p.name)
			}
			return upserted(c.newRun(p, in), true)
		}
	}
	if !c.server.mayWrite(c.caller, r.project) {
		return permissionDenied("writing to " + r.project.entity.name + "/" + r.project.name)
	}
	if err := r.update(in); err != nil {
		return err
	}
	return upserted(r, false)
}

func upserted(r *run, inserted bool) payload {
	return payload{"bucket": r, "inserted": inserted, "serverSettings": serverSettings{}}
}

// projectFor finds the project of a run and creates it if the caller may.
func (c *call) projectFor(in arguments) (*project, error) {
	t := c.entityOr(in.text("entityName"))
	if t == nil {
		return nil, entityNotFound(in.text("entityName"), "upsertBucket")
	}
	name := in.textOr("modelName", "uncategorized")
	p := c.state.project(t.name, name)
	if p != nil {
		if !c.server.mayRead(c.caller, p) {
			return nil, permissionDenied("project " + t.name + "/" + name)
		}
		return p, nil
	}
	m := t.member(c.user)
	if !c.server.config.Trust && (m == nil || m.role == "viewer") {
		return nil, permissionDenied("creating projects in " + t.name)
	}
	return c.state.addProject(t, name, "", c.owner(), now()), nil
}

func (c *call) newRun(p *project, in arguments) *run {
	at := now()
	r := &run{
		project: p, name: cmp.Or(in.text("name"), newSecret()[:8]), state: "running",
		user: c.owner(), created: at, heartbeat: at,
	}
	if c.onBehalf != nil {
		r.actor = c.user
	}
	r.number = c.state.number(r)
	r.displayName = fmt.Sprintf("run-%d", len(p.runs)+1)
	p.runs = append(p.runs, r)
	if s := p.sweep(in.text("sweep")); s != nil {
		s.adopt(r)
	}
	r.update(in)
	return r
}

// update changes what the input names.
func (r *run) update(in arguments) error {
	for name, field := range map[string]*string{
		"displayName": &r.displayName, "description": &r.description, "notes": &r.notes, "groupName": &r.group,
		"jobType": &r.jobType, "commit": &r.commit, "host": &r.host, "jobProgram": &r.program,
		"summaryMetrics": &r.summary, "state": &r.state,
	} {
		if in.given(name) {
			*field = in.text(name)
		}
	}
	if in.given("tags") {
		r.tags = in.texts("tags")
	}
	r.heartbeat = now()
	if in.given("config") {
		return r.mergeConfig(in.text("config"))
	}
	return nil
}

// upsertModel creates a project or changes its settings.
func upsertModel(c *call, _ mutationRoot, a arguments) any {
	in := a.object("input")
	t := c.entityOr(in.text("entityName"))
	if t == nil {
		return entityNotFound(in.text("entityName"), "upsertModel")
	}
	name := in.text("name")
	if name == "" {
		return fmt.Errorf("a project needs a name")
	}
	p := c.state.project(t.name, name)
	inserted := p == nil
	if inserted {
		m := t.member(c.user)
		if !c.server.config.Trust && (m == nil || m.role == "viewer") {
			return permissionDenied("creating projects in " + t.name)
		}
		p = c.state.addProject(t, name, in.text("access"), c.owner(), now())
	}
	if !inserted && !c.server.mayManage(c.caller, t) && p.owner != c.user {
		return permissionDenied("changing " + t.name + "/" + name)
	}
	for name, field := range map[string]*string{"access": &p.access, "description": &p.description, "views": &p.views} {
		if in.given(name) {
			*field = in.text(name)
		}
	}
	return payload{"project": p, "model": p, "inserted": inserted}
}

// segments escapes the parts of a path. Slashes in a file's name stay.
func segments(parts ...string) []string {
	out := make([]string, len(parts))
	for i, part := range parts {
		out[i] = escapePath(part)
	}
	return out
}

var _ = define("View", fields[*report]{
	"id":          func(_ *call, v *report, _ arguments) any { return encodeID("View:%d", v.number) },
	"name":        func(_ *call, v *report, _ arguments) any { return v.name },
	"displayName": func(_ *call, v *report, _ arguments) any { return v.displayName },
	"description": func(_ *call, v *report, _ arguments) any { return textOrNull(v.description) },
	"type":        func(_ *call, v *report, _ arguments) any { return v.kind },
	"spec":        func(_ *call, v *report, _ arguments) any { return v.spec },
	"user":        func(_ *call, v *report, _ arguments) any { return v.owner },
	"project":     func(_ *call, v *report, _ arguments) any { return v.project },
	"viewCount":   func(*call, *report, arguments) any { return 0 },
	"starCount":   func(*call, *report, arguments) any { return 0 },
	"createdAt":   func(_ *call, v *report, _ arguments) any { return stamp(v.created) },
	"updatedAt":   func(_ *call, v *report, _ arguments) any { return stamp(v.updated) },
})

var _ = mutation(fields[mutationRoot]{
	"upsertView": func(c *call, _ mutationRoot, a arguments) any {
		in := a.object("input")
		v, ok := find[*report](c.state, in.text("id"))
		if !ok {
			p := c.state.project(in.text("entityName"), in.text("projectName"))
			if p == nil || !c.server.mayWrite(c.caller, p) {
				return permissionDenied("writing reports")
			}
			v = &report{project: p, owner: c.user, created: now()}
			v.number = c.state.number(v)
			p.reports = append(p.reports, v)
		}
		if !c.server.mayWrite(c.caller, v.project) {
			return permissionDenied("writing reports")
		}
		for name, field := range map[string]*string{
			"type": &v.kind, "name": &v.name, "displayName": &v.displayName, "description": &v.description, "spec": &v.spec,
		} {
			if in.given(name) {
				*field = in.text(name)
			}
		}
		v.updated = now()
		return payload{"view": v, "inserted": !ok}
	},
	"deleteView": func(c *call, _ mutationRoot, a arguments) any {
		v, ok := find[*report](c.state, a.object("input").text("id"))
		if !ok || !c.server.mayWrite(c.caller, v.project) {
			return permissionDenied("deleting reports")
		}
		v.project.reports = slices.DeleteFunc(v.project.reports, func(other *report) bool { return other == v })
		return payload{"success": true, "pendingDrafts": nil}
	},
})
