// Package admin is what an administrator asks of a running gateway: to create, list, get, set and
// delete users, teams, projects, service accounts, custom roles and API keys, to import and export
// the directory, and to explain a decision. It speaks in names where the directory speaks in ids,
// and knows neither HTTP nor Caddy: whoever serves it decides who may call.
package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/directory"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/session"
	"github.com/wandb-gateway/wandb-gateway/internal/vault"
	"github.com/wandb-gateway/wandb-gateway/tokenexchange"
)

// Service administers one directory.
type Service struct {
	directory *directory.Directory
	tokens    *tokenexchange.Service
	sessions  *session.Sessions
	vault     *vault.Vault
	now       func() time.Time
}

// New returns the administration of a directory, of its tokens and of its sessions, and of the keys that
// its people and teams have at the W&B server.
func New(d *directory.Directory, tokens *tokenexchange.Service, sessions *session.Sessions, v *vault.Vault) *Service {
	return &Service{d, tokens, sessions, v, time.Now}
}

// request is what a call names. Members that were not given are nil.
type request struct {
	// Target is what the call is about: a name, entity/name of a project, or a key's id.
	Target string `json:"target"`

	Email        *string  `json:"email"`
	Name         *string  `json:"name"`
	Role         *string  `json:"role"`
	ModelsSeat   *string  `json:"models_seat"`
	BillingAdmin *bool    `json:"billing_admin"`
	WeaveSeat    *string  `json:"weave_seat"`
	Active       *bool    `json:"active"`
	Team         *string  `json:"team"`
	DefaultTeam  *string  `json:"default_team"`
	Issuer       *string  `json:"issuer"`
	Subject      *string  `json:"subject"`
	Claim        []string `json:"claim"`
	Visibility   *string  `json:"visibility"`
	Owner        *string  `json:"owner"`
	Inherits     *string  `json:"inherits"`
	Description  *string  `json:"description"`
	Permission   []string `json:"permission"`
	Add          []string `json:"add"`
	Remove       []string `json:"remove"`

	Audience  []string `json:"audience"`
	Algorithm []string `json:"algorithm"`
	Preset    *string  `json:"preset"`
	KeysURL   *string  `json:"keys_url"`
	Keys      *string  `json:"keys"`
	Roots     *string  `json:"tls_ca"`
	Before    *string  `json:"before"`
	Expires   *string  `json:"expires"`
	ReadOnly  *bool    `json:"read_only"`
	Entity    *string  `json:"entity"`
	Project   *string  `json:"project"`
	Unbind    *string  `json:"unbind"`

	User *string `json:"user"`
	// Settings of a team are on or off, what the organization enforces on, off or unset.
	Hidden                 *string `json:"hidden"`
	PrivateProjects        *string `json:"private_projects"`
	MembersInvite          *string `json:"members_invite"`
	AutoJoin               *string `json:"auto_join"`
	EnforceHidden          *string `json:"enforce_hidden"`
	EnforcePrivateProjects *string `json:"enforce_private_projects"`
	EnforceMembersInvite   *string `json:"enforce_members_invite"`

	Kind      *string `json:"kind"`
	Search    *string `json:"search"`
	UnusedFor *string `json:"unused_for"`
	Sort      *string `json:"sort"`
	Limit     *string `json:"limit"`
	After     *string `json:"after"`

	Value *string `json:"value"` // a secret: it is in no answer and in no error
}

// Done is the answer to a call that changed something.
type Done struct {
	Text string `json:"text"`
}

func done(format string, args ...any) (any, error) { return Done{fmt.Sprintf(format, args...)}, nil }

// calls are all verbs of all nouns.
var calls = map[string]func(*Service, context.Context, request) (any, error){
	"user/create": (*Service).createUser,
	"user/list":   (*Service).listUsers,
	"user/get":    (*Service).listUsers,
	"user/set":    (*Service).setUser,
	"user/delete": (*Service).deleteUser,

	"team/create": (*Service).createTeam,
	"team/list":   (*Service).listTeams,
	"team/get":    (*Service).listTeams,
	"team/set":    (*Service).setTeam,
	"team/delete": (*Service).deleteTeam,

	"organization/get": (*Service).getOrganization,
	"organization/set": (*Service).setOrganization,

	"project/create": (*Service).createProject,
	"project/list":   (*Service).listProjects,
	"project/get":    (*Service).listProjects,
	"project/set":    (*Service).setProject,
	"project/delete": (*Service).deleteProject,

	"service-account/create": (*Service).createServiceAccount,
	"service-account/list":   (*Service).listServiceAccounts,
	"service-account/get":    (*Service).listServiceAccounts,
	"service-account/set":    (*Service).setServiceAccount,
	"service-account/delete": (*Service).deleteServiceAccount,

	"role/create": (*Service).createRole,
	"role/list":   (*Service).listRoles,
	"role/get":    (*Service).listRoles,
	"role/set":    (*Service).setRole,
	"role/delete": (*Service).deleteRole,

	"key/create": (*Service).createKey,
	"key/list":   (*Service).listKeys,
	"key/get":    (*Service).getKey,
	"key/set":    (*Service).renameKey,
	"key/delete": (*Service).deleteKey,

	"issuer/create": (*Service).createIssuer,
	"issuer/list":   (*Service).listIssuers,
	"issuer/get":    (*Service).listIssuers,
	"issuer/set":    (*Service).setIssuer,
	"issuer/delete": (*Service).deleteIssuer,

	"token/delete": (*Service).deleteTokens,

	"upstream-key/set":    (*Service).setUpstreamKey,
	"upstream-key/list":   (*Service).listUpstreamKeys,
	"upstream-key/delete": (*Service).deleteUpstreamKey,

	"session/list":   (*Service).listSessions,
	"session/delete": (*Service).deleteSession,

	"signing-key/create": (*Service).rotateSigningKey,
	"signing-key/list":   (*Service).listSigningKeys,
	"signing-key/delete": (*Service).deleteSigningKey,
}

// Call carries out a verb on a noun and returns what can be marshalled as JSON. An unknown noun or
// verb is iam.KindNotFound.
func (s *Service) Call(ctx context.Context, noun, verb string, body []byte) (any, error) {
	call, ok := calls[noun+"/"+verb]
	if !ok {
		return nil, iam.NotFoundf("there is no command iam %s %s", noun, verb)
	}
	var r request
	if err := decode(body, &r); err != nil {
		return nil, err
	}
	if verb == "get" && r.Target == "" && noun != "organization" {
		return nil, iam.Invalidf("iam %s get needs a name", noun)
	}
	return call(s, ctx, r)
}

// decode reads one JSON object without unknown members.
func decode(body []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return iam.Invalidf("the request cannot be read: %v", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return iam.Invalidf("the request holds more than one JSON value")
	}
	return nil
}

// Import applies a directory file.
func (s *Service) Import(ctx context.Context, file []byte, prune bool) (any, error) {
	result, err := s.directory.Import(ctx, file, directory.ImportOptions{Prune: prune})
	if err != nil {
		return nil, err
	}
	return struct {
		directory.ImportResult
		Done
		// Warnings name service accounts that were made under names that do not say what they are for (BP-5).
		Warnings []string `json:"warnings,omitempty"`
	}{result, Done{fmt.Sprintf("%d created, %d updated, %d unchanged, %d deleted", result.Created, result.Updated, result.Unchanged, result.Deleted)}, vagueAccounts(result.Rows)}, nil
}

// vagueAccounts warns of service accounts that an import made.
func vagueAccounts(rows []directory.ImportedRow) (warnings []string) {
	for _, r := range rows {
		if r.Kind == "service_account" && r.Effect == "created" && iam.VagueName(r.Name) {
			warnings = append(warnings, "service account "+r.Name+vagueHint(r.Name))
		}
	}
	return warnings
}

// Export returns the directory as a file for Import.
func (s *Service) Export(ctx context.Context) (any, error) {
	var file bytes.Buffer
	err := s.directory.Export(ctx, &file)
	return json.RawMessage(file.Bytes()), err
}

// text returns what an option says, "" if it was not given.
func text(option *string) string {
	if option == nil {
		return ""
	}
	return *option
}

// parsed reads an option with a parser of package iam; nil if it was not given.
func parsed[T any](option *string, parse func(string) (T, error)) (*T, error) {
	if option == nil {
		return nil, nil
	}
	value, err := parse(*option)
	if err != nil {
		return nil, err
	}
	return &value, nil
}

// value returns what p points to, or the zero value.
func value[T any](p *T) T {
	var zero T
	if p == nil {
		return zero
	}
	return *p
}

// principal finds USERNAME or service_account:NAME.
func (s *Service) principal(ctx context.Context, name string) (iam.PrincipalRef, error) {
	if account, ok := strings.CutPrefix(name, "service_account:"); ok {
		id, err := s.serviceAccount(ctx, account)
		return id.Ref(), err
	}
	id, err := s.user(ctx, name)
	if iam.KindOf(err) == iam.KindNotFound {
		if account, _ := s.directory.FindServiceAccount(ctx, name); account != "" {
			return iam.PrincipalRef{}, iam.NotFoundf("there is no user %q; write service_account:%s for the service account of that name", name, name)
		}
	}
	return id.Ref(), err
}

func (s *Service) user(ctx context.Context, name string) (iam.UserID, error) {
	id, err := s.directory.FindUser(ctx, name)
	if err == nil && id == "" {
		err = iam.NotFoundf("there is no user %q", name)
	}
	return id, err
}

func (s *Service) team(ctx context.Context, name string) (iam.TeamID, error) {
	id, err := s.directory.FindTeam(ctx, name)
	if err == nil && id == "" {
		err = iam.NotFoundf("there is no team %q", name)
	}
	return id, err
}

// optionalTeam finds the team that an option names: nil if it was not given, "" if it is empty.
func (s *Service) optionalTeam(ctx context.Context, option *string) (*iam.TeamID, error) {
	switch {
	case option == nil:
		return nil, nil
	case *option == "":
		return new(iam.TeamID), nil
	}
	id, err := s.team(ctx, *option)
	return &id, err
}

func (s *Service) serviceAccount(ctx context.Context, name string) (iam.ServiceAccountID, error) {
	id, err := s.directory.FindServiceAccount(ctx, name)
	if err == nil && id == "" {
		err = iam.NotFoundf("there is no service account %q", name)
	}
	return id, err
}

// project finds ENTITY/NAME.
func (s *Service) project(ctx context.Context, path string) (*iam.Project, error) {
	entity, name, ok := strings.Cut(path, "/")
	if !ok {
		return nil, iam.Invalidf("%q is not ENTITY/NAME of a project", path)
	}
	facts, err := s.directory.Facts(ctx, nil, entity, name)
	if err != nil {
		return nil, err
	}
	if facts.Project == nil {
		return nil, iam.NotFoundf("there is no project %q", path)
	}
	return facts.Project, nil
}

// splitRole splits USERNAME:ROLE, where the name may itself be service_account:NAME.
func splitRole(member string) (who string, role iam.Role, err error) {
	prefix, rest := "", member
	if after, ok := strings.CutPrefix(member, "service_account:"); ok {
		prefix, rest = "service_account:", after
	}
	name, roleName, ok := strings.Cut(rest, ":")
	if ok {
		role, err = iam.ParseRole(roleName)
	}
	return prefix + name, role, err
}
