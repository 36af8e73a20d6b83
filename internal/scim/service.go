package scim

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/wandb-gateway/wandb-gateway/authz"
	"github.com/wandb-gateway/wandb-gateway/internal/directory"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/problem"
	"github.com/wandb-gateway/wandb-gateway/internal/scim/schema"
)

// MediaType is what bodies are (RFC 7644 section 8.1); plain JSON is accepted too (SCIM-7).
const MediaType = "application/scim+json"

// maxBodyBytes bounds a request: a team of 50,000, which is what one change can hold, has some 3 MB.
const maxBodyBytes = 4 << 20

// Config is what a Service needs.
type Config struct {
	Directory *directory.Directory
	// Gateway returns the gateway's own address as the caller wrote it.
	Gateway func(*http.Request) string
	// Report is told what was changed; may be nil.
	Report func(*http.Request, Event)
}

// Event is one change, as the log has it.
type Event struct {
	// Principal made the change.
	Principal *iam.Principal
	// Action is what was done, in W&B's grammar object:operation: user:create, team:update, role:delete.
	Action string
	// Target is the id of what was changed.
	Target string
	// Before and After are the records; nil before creation and after deletion.
	Before, After any
}

// Service provisions one directory.
type Service struct{ Config }

// New returns the provisioning of a directory.
func New(c Config) (*Service, error) {
	if c.Directory == nil || c.Gateway == nil {
		return nil, errors.New("scim: Directory and Gateway are required")
	}
	return &Service{c}, nil
}

// request is one request of a caller who may make it, or one operation of a bulk request.
type request struct {
	http   *http.Request
	caller *iam.Principal
	method string
	// path are the segments below the dialect's base.
	path  []string
	query url.Values
	// body is what was sent, once call has found that the method takes one.
	body      map[string]any
	condition condition
	// base is the address of the dialect's base.
	base string
}

func (q *request) ctx() context.Context { return q.http.Context() }

// response is an answer that is no error.
type response struct {
	status   int
	body     any // nil for none
	location string
	version  string
}

// serve answers a request below base with what answer says. An error is answered by whoever called.
func (s *Service) serve(w http.ResponseWriter, r *http.Request, caller *iam.Principal, base string, answer func(*request) (*response, error)) error {
	if err := s.authorize(r.Context(), caller); err != nil {
		return err
	}
	q := &request{http: r, caller: caller, method: r.Method, base: s.Gateway(r) + base, condition: readCondition(r.Header)}
	if rest := strings.Trim(strings.TrimPrefix(r.URL.Path, base), "/"); rest != "" {
		q.path = strings.Split(rest, "/")
	}
	var err error
	if q.query, err = url.ParseQuery(r.URL.RawQuery); err != nil {
		return &iam.Error{Kind: iam.KindInvalid, Reason: schema.ReasonInvalidSyntax, Message: "the query string cannot be read"}
	}
	a, err := answer(q)
	if err != nil {
		return err
	}
	if a.version != "" && (r.Method == http.MethodGet || r.Method == http.MethodHead) && q.condition.unchanged(a.version) {
		a = &response{status: http.StatusNotModified, version: a.version}
	}
	return a.write(w)
}

// authorize decides whether the caller may provision (SCIM-3, SA-18).
func (s *Service) authorize(ctx context.Context, p *iam.Principal) error {
	if p == nil {
		return &iam.Error{Kind: iam.KindUnauthenticated, Reason: authz.ReasonAnonymous,
			Message: "SCIM needs the API key of an organization admin or of a service account of the organization, as Basic password or Bearer value"}
	}
	return s.decide(ctx, p, authz.OrganizationProvision, "")
}

// decide asks authz about a team, or about the organization if it is empty.
func (s *Service) decide(ctx context.Context, p *iam.Principal, permission authz.Permission, team string) error {
	facts, err := s.Directory.Facts(ctx, p, team, "")
	if err != nil {
		return err
	}
	return judge(facts, permission, team)
}

// judge makes a refusal of what authz decides.
func judge(facts authz.Facts, permission authz.Permission, team string) error {
	p := facts.Principal
	d := authz.Decide(authz.Request{Permission: permission}, facts)
	if d.Allowed() {
		return nil
	}
	kind := iam.KindDenied
	if d.Reason == authz.ReasonDeactivated {
		kind = iam.KindUnauthenticated
	}
	return &iam.Error{Kind: kind, Reason: d.Reason,
		Message: authz.Sentence(d.Reason, authz.Names{Principal: p.Username, Kind: p.Ref.Kind, Entity: team, Team: p.Scope.Name})}
}

// by is the directory for the caller's changes: that they may provision is decided once more with the commit.
func (s *Service) by(q *request) *directory.Directory {
	return s.Directory.By(directory.Acting{Who: q.caller.Ref, Needs: []directory.Need{{Permission: authz.OrganizationProvision}}})
}

// mayGive refuses callers who would give themselves access to a team that they must not enter (ENV-9).
func (s *Service) mayGive(q *request, to iam.UserID, team string) error {
	if q.caller.Ref != to.Ref() {
		return nil
	}
	return s.decide(q.ctx(), q.caller, authz.TeamJoin, team)
}

// mayMake is mayGive for a team that is about to be made with these members, and in which nobody is yet. Of those
// who may provision, people alone have themselves to put into it.
func (s *Service) mayMake(q *request, members []iam.UserID, team string) error {
	if !slices.ContainsFunc(members, func(id iam.UserID) bool { return id.Ref() == q.caller.Ref }) {
		return nil
	}
	facts, err := s.Directory.Facts(q.ctx(), q.caller, "", "")
	if err != nil {
		return err
	}
	facts.Entity = &iam.Entity{ID: iam.NewTeamID().Entity(), Name: team}
	return judge(facts, authz.TeamJoin, team)
}

func (s *Service) report(q *request, action, target string, before, after any) {
	if s.Report != nil {
		s.Report(q.http, Event{Principal: q.caller, Action: action, Target: target, Before: before, After: after})
	}
}

func readBody(r *http.Request) (map[string]any, error) {
	if r.Header.Get("Content-Encoding") != "" {
		return nil, unsupportedMedia("a SCIM request must not be compressed")
	}
	if value := r.Header.Get("Content-Type"); value != "" {
		media, params, err := mime.ParseMediaType(value)
		charset := params["charset"]
		if err != nil || media != MediaType && media != "application/json" || charset != "" && !strings.EqualFold(charset, "utf-8") {
			return nil, unsupportedMedia("SCIM requests are sent as application/scim+json or application/json, in UTF-8")
		}
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBodyBytes+1))
	if len(body) > maxBodyBytes {
		return nil, &iam.Error{Kind: iam.KindTooLarge, Reason: "too_large", Message: "the request is larger than 4 MiB: send it in parts"}
	}
	if err != nil {
		return nil, &iam.Error{Kind: iam.KindInvalid, Reason: schema.ReasonInvalidSyntax, Message: "the request's body ended too early", Err: err}
	}
	return schema.Decode(body)
}

func unsupportedMedia(message string) error {
	return &iam.Error{Kind: iam.KindInvalid, Reason: problem.ReasonUnsupportedMediaType, Message: message}
}

func (a *response) write(w http.ResponseWriter) error {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if a.location != "" {
		h.Set("Location", a.location)
	}
	if a.version != "" {
		h.Set("Etag", a.version)
	}
	if a.body == nil {
		w.WriteHeader(a.status)
		return nil
	}
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	if err := e.Encode(a.body); err != nil {
		return err
	}
	h.Set("Content-Type", MediaType)
	h.Set("Content-Length", strconv.Itoa(text.Len()))
	w.WriteHeader(a.status)
	w.Write(text.Bytes())
	return nil
}

func notAllowed(method string) error {
	return &iam.Error{Kind: iam.KindInvalid, Reason: problem.ReasonMethodNotAllowed, Message: "the method " + method + " is not allowed here"}
}

func nothingHere() error {
	return iam.NotFoundf("there is nothing at this address: people are at Users, teams at Groups")
}

func invalidValue(message string) error {
	return &iam.Error{Kind: iam.KindInvalid, Reason: schema.ReasonInvalidValue, Message: message}
}

// userID reads an id in an address. What is none is nobody's.
func userID(s string) (iam.UserID, error) {
	if !wellFormed(s, "usr_") {
		return "", iam.NotFoundf("there is no user of this id: it is wrong, or the user was deleted")
	}
	return iam.UserID(s), nil
}

// teamID is userID for teams.
func teamID(s string) (iam.TeamID, error) {
	if !wellFormed(s, "team_") {
		return "", iam.NotFoundf("there is no team of this id: it is wrong, or the team was deleted")
	}
	return iam.TeamID(s), nil
}

// wellFormed keeps what cannot be an id from the store, whose keys ids become parts of.
func wellFormed(s, prefix string) bool {
	digits, ok := strings.CutPrefix(s, prefix)
	if !ok || digits == "" || len(digits) > 64 {
		return false
	}
	return strings.Trim(digits, "0123456789abcdef") == ""
}
