package scim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/problem"
	"github.com/wandb-gateway/wandb-gateway/internal/scim/schema"
	"github.com/wandb-gateway/wandb-gateway/internal/untrusted"
)

// maxBulk bounds the operations of one bulk request; each is a change of its own.
const maxBulk = 1000

// bulkRounds bounds how often the operations are gone through. Teams refer to people, and nothing to
// teams: two rounds do, in whatever order they come.
const bulkRounds = 4

// bulkOperation is one operation, and what came of it (RFC 7644 section 3.7).
type bulkOperation struct {
	method, bulkID, path, version string
	data                          map[string]any

	done   bool
	answer object
}

// bulk carries out operations one after the other, each of which succeeds or fails as a whole. One that
// refers to what another makes waits for it.
func (v V2) bulk(q *request) (*response, error) {
	if err := wantSchema(q.body, bulkRequest); err != nil {
		return nil, err
	}
	failOn, err := failOnErrors(q.body)
	if err != nil {
		return nil, err
	}
	operations, err := readBulk(q.body)
	if err != nil {
		return nil, err
	}
	b := bulkRun{V2: v, q: q, ids: map[string]string{}, failOn: failOn}
	for range bulkRounds {
		if !b.progress(operations) {
			break
		}
	}
	answers := []object{}
	for _, o := range operations {
		if !o.done && !b.stopped() {
			b.fail(o, &iam.Error{Kind: iam.KindConflict, Reason: schema.ReasonInvalidValue,
				Message: "this refers to a bulkId that no operation of the request made, or that waits for this one"})
		}
		if o.answer != nil {
			answers = append(answers, o.answer)
		}
	}
	return &response{status: http.StatusOK, body: object{"schemas": []string{bulkResponse}, "Operations": answers}}, nil
}

// bulkRun is a bulk request while it is carried out.
type bulkRun struct {
	V2
	q      *request
	ids    map[string]string // by bulkId
	failed int
	failOn int // stops after so many failures; 0 never does
}

func (b *bulkRun) stopped() bool { return b.failOn > 0 && b.failed >= b.failOn }

// progress carries out what can be, and reports whether it is worth another round.
func (b *bulkRun) progress(operations []*bulkOperation) bool {
	more := false
	for _, o := range operations {
		if b.stopped() {
			return false
		}
		if o.done {
			continue
		}
		path, ok := b.resolve(o.path)
		data, dataOK := b.resolveIn(o.data).(map[string]any)
		if !ok || o.data != nil && !dataOK || b.missing(o.data) {
			continue
		}
		more = true
		b.run(o, path, data)
	}
	return more
}

func (b *bulkRun) run(o *bulkOperation, path string, data map[string]any) {
	r := &request{http: b.q.http, caller: b.q.caller, method: o.method, base: b.q.base, body: data, query: url.Values{},
		path: strings.Split(strings.Trim(path, "/"), "/")}
	if o.version != "" {
		r.condition.match = []string{o.version}
	}
	a, err := b.V2.answer(r)
	if err != nil {
		b.fail(o, err)
		return
	}
	o.done, o.answer = true, object{"method": o.method, "status": strconv.Itoa(a.status)}
	if o.bulkID != "" {
		o.answer["bulkId"] = o.bulkID
	}
	location := a.location
	if location == "" {
		location = b.q.base + "/" + strings.Trim(path, "/")
	}
	o.answer["location"] = location
	if a.version != "" {
		o.answer["version"] = a.version
	}
	if o.method == http.MethodPost {
		b.ids[o.bulkID] = location[strings.LastIndexByte(location, '/')+1:]
	}
}

func (b *bulkRun) fail(o *bulkOperation, err error) {
	p := problem.From(err)
	o.done, o.answer = true, object{"method": o.method, "status": strconv.Itoa(p.Status), "response": p.SCIM()}
	if o.bulkID != "" {
		o.answer["bulkId"] = o.bulkID
	}
	if o.method != http.MethodPost {
		o.answer["location"] = b.q.base + "/" + strings.Trim(o.path, "/")
	}
	b.failed++
}

// bulkReference is a reference to what an operation of the same request makes.
var bulkReference = regexp.MustCompile(`bulkId:([A-Za-z0-9_.-]{1,128})`)

// resolve puts ids in the place of references; ok is false while one of them is not known.
func (b *bulkRun) resolve(text string) (string, bool) {
	ok := true
	resolved := bulkReference.ReplaceAllStringFunc(text, func(reference string) string {
		id, known := b.ids[strings.TrimPrefix(reference, "bulkId:")]
		ok = ok && known
		return id
	})
	return resolved, ok
}

// resolveIn is resolve for values that are references, and for paths, in the data of an operation.
func (b *bulkRun) resolveIn(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for name, inner := range v {
			out[name] = b.resolveIn(inner)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, inner := range v {
			out[i] = b.resolveIn(inner)
		}
		return out
	case string:
		if !refers(v) {
			return v
		}
		if resolved, ok := b.resolve(v); ok {
			return resolved
		}
	}
	return v
}

// refers reports whether text refers to another operation: it is nothing else, or a path with one in it.
func refers(text string) bool {
	return strings.HasPrefix(text, "bulkId:") || strings.Contains(text, `"bulkId:`)
}

// missing reports whether data refers to what is not there yet.
func (b *bulkRun) missing(v any) bool {
	switch v := v.(type) {
	case map[string]any:
		for _, inner := range v {
			if b.missing(inner) {
				return true
			}
		}
	case []any:
		for _, inner := range v {
			if b.missing(inner) {
				return true
			}
		}
	case string:
		if refers(v) {
			_, ok := b.resolve(v)
			return !ok
		}
	}
	return false
}

func failOnErrors(body map[string]any) (int, error) {
	switch v := body["failonerrors"].(type) {
	case nil:
		return 0, nil
	case json.Number:
		if n, err := strconv.Atoi(v.String()); err == nil && n >= 0 {
			return n, nil
		}
	}
	return 0, invalidValue("failOnErrors is a whole number")
}

func readBulk(body map[string]any) ([]*bulkOperation, error) {
	list, ok := body["operations"].([]any)
	if !ok || len(list) == 0 {
		return nil, &iam.Error{Kind: iam.KindInvalid, Reason: schema.ReasonInvalidSyntax, Message: "a bulk request needs a list of Operations with at least one in it"}
	}
	if len(list) > maxBulk {
		return nil, &iam.Error{Kind: iam.KindTooLarge, Reason: "too_large", Message: fmt.Sprintf("a bulk request can hold %d Operations: send several", maxBulk)}
	}
	operations := make([]*bulkOperation, len(list))
	seen := map[string]bool{}
	for i, v := range list {
		o, err := readBulkOperation(v)
		if err != nil {
			return nil, err
		}
		if o.bulkID != "" && seen[o.bulkID] {
			return nil, invalidValue("the bulkId " + untrusted.Quote(untrusted.Clip(o.bulkID)) + " is there twice")
		}
		seen[o.bulkID], operations[i] = true, o
	}
	return operations, nil
}

func readBulkOperation(v any) (*bulkOperation, error) {
	fields, ok := v.(map[string]any)
	if !ok {
		return nil, &iam.Error{Kind: iam.KindInvalid, Reason: schema.ReasonInvalidSyntax, Message: "each of the Operations is an object"}
	}
	o := &bulkOperation{}
	for name, into := range map[string]*string{"method": &o.method, "bulkid": &o.bulkID, "path": &o.path, "version": &o.version} {
		text, ok := fields[name].(string)
		if !ok && fields[name] != nil {
			return nil, invalidValue("the " + name + " of an operation is a string")
		}
		*into = text
	}
	o.data, _ = fields["data"].(map[string]any)
	o.method = strings.ToUpper(o.method)
	switch o.method {
	case http.MethodPost:
		if o.bulkID == "" || !bulkReference.MatchString("bulkId:"+o.bulkID) {
			return nil, invalidValue("an operation POST needs a bulkId of letters, digits, _ . -")
		}
	case http.MethodPut, http.MethodPatch, http.MethodDelete:
	default:
		return nil, invalidValue("the method of an operation is POST, PUT, PATCH or DELETE")
	}
	if o.method != http.MethodDelete && o.data == nil {
		return nil, invalidValue("an operation " + o.method + " needs data, an object")
	}
	if kind, _, _ := strings.Cut(strings.TrimPrefix(o.path, "/"), "/"); kind != "Users" && kind != "Groups" || strings.HasSuffix(o.path, "/.search") {
		return nil, invalidValue("the path of an operation is below /Users or /Groups")
	}
	return o, nil
}
