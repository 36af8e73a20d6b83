package directory

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/store"
)

// The export's form: the import file with everything said. Times are those of keys only.
type (
	exportFile struct {
		Organization    string                   `json:"organization"`
		Enforced        exportedEnforced         `json:"enforced"`
		Users           []exportedUser           `json:"users"`
		Teams           []exportedTeam           `json:"teams"`
		Projects        []exportedProject        `json:"projects"`
		ServiceAccounts []exportedServiceAccount `json:"service_accounts"`
		CustomRoles     []exportedRole           `json:"custom_roles"`
		APIKeys         []exportedKey            `json:"api_keys"`
	}
	exportedUser struct {
		Username     string               `json:"username"`
		Email        string               `json:"email"`
		Name         string               `json:"name"`
		Role         iam.OrganizationRole `json:"role"`
		BillingAdmin bool                 `json:"billing_admin"`
		ModelsSeat   iam.Seat             `json:"models_seat"`
		WeaveSeat    iam.Seat             `json:"weave_seat"`
		Active       bool                 `json:"active"`
		DefaultTeam  string               `json:"default_team"`
		GivenName    string               `json:"given_name,omitempty"`
		FamilyName   string               `json:"family_name,omitempty"`
		ExternalID   string               `json:"external_id,omitempty"`
	}
	exportedEnforced struct {
		Hidden          iam.Switch `json:"hidden"`
		PrivateProjects iam.Switch `json:"private_projects"`
		MembersInvite   iam.Switch `json:"members_invite"`
	}
	exportedTeam struct {
		Name            string               `json:"name"`
		ExternalID      string               `json:"external_id,omitempty"`
		Hidden          bool                 `json:"hidden"`
		PrivateProjects bool                 `json:"private_projects"`
		MembersInvite   bool                 `json:"members_invite"`
		AutoJoin        bool                 `json:"auto_join"`
		Members         []exportedTeamMember `json:"members"`
	}
	exportedTeamMember struct {
		User string   `json:"user"`
		Role iam.Role `json:"role"`
	}
	exportedProject struct {
		Entity     string           `json:"entity"`
		Name       string           `json:"name"`
		Visibility iam.Visibility   `json:"visibility"`
		Owner      string           `json:"owner,omitempty"`
		Members    []exportedMember `json:"members"`
	}
	exportedMember struct {
		User           string   `json:"user,omitempty"`
		ServiceAccount string   `json:"service_account,omitempty"`
		Role           iam.Role `json:"role,omitempty"`
	}
	exportedServiceAccount struct {
		Name        string            `json:"name"`
		Team        string            `json:"team,omitempty"`
		DefaultTeam string            `json:"default_team,omitempty"`
		Issuer      string            `json:"issuer,omitempty"`
		Subject     string            `json:"subject,omitempty"`
		Claims      map[string]string `json:"claims,omitempty"`
		Active      bool              `json:"active"`
	}
	exportedRole struct {
		Name        string   `json:"name"`
		Description string   `json:"description"`
		Inherits    iam.Role `json:"inherits"`
		Permissions []string `json:"permissions"`
	}
	exportedKey struct {
		ID      iam.KeyID `json:"id"`
		Owner   string    `json:"owner"`
		Name    string    `json:"name"`
		Created time.Time `json:"created"`
		// What a key is not limited in has no member. An empty entity was deleted: such a row makes no key.
		Expires  time.Time `json:"expires,omitzero"`
		ReadOnly bool      `json:"read_only,omitempty"`
		Entity   *string   `json:"entity,omitempty"`
		Project  string    `json:"project,omitempty"`
	}
)

// Export writes the whole directory in the import file's form, sorted, all of one revision. Keys are
// listed without key material: importing an export where they are recorded renames them at most, and
// elsewhere ignores them. Importing an export into the directory that it came from changes nothing,
// and into an empty one makes its like, but for keys and for what has no place in the file: projects
// whose owners were deleted have none, projects left behind by deleted users are not exported, and
// people are bound to their accounts at sign-in authorities anew when they next sign in.
func (d *Directory) Export(ctx context.Context, w io.Writer) error {
	for range attempts {
		before, err := d.revision(ctx)
		if err != nil {
			return err
		}
		file, err := d.exported(ctx)
		after, later := d.revision(ctx)
		if later != nil {
			return later
		}
		if before != after {
			continue // the pages are of several revisions
		}
		if err != nil {
			return err
		}
		out := json.NewEncoder(w)
		out.SetIndent("", " ")
		out.SetEscapeHTML(false)
		if err := out.Encode(file); err != nil {
			return fmt.Errorf("writing the export: %w", err)
		}
		return nil
	}
	return errRestless
}

// revision returns the revision of the organization's records.
func (d *Directory) revision(ctx context.Context) (store.Revision, error) {
	r, err := d.cache.Store().Get(ctx, store.RevisionKey(d.space))
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return 0, unreadable(err)
	}
	return r.Version, nil
}

// exporter knows the names of what was read, to write names in place of ids.
type exporter struct {
	file            exportFile
	entities        map[iam.EntityID]string
	serviceAccounts map[iam.ServiceAccountID]string
	users           map[iam.UserID]*iam.User
	teams           map[iam.TeamID]*exportedTeam
}

func (d *Directory) exported(ctx context.Context) (*exportFile, error) {
	e := &exporter{
		entities:        map[iam.EntityID]string{},
		serviceAccounts: map[iam.ServiceAccountID]string{},
		users:           map[iam.UserID]*iam.User{},
		teams:           map[iam.TeamID]*exportedTeam{},
		file: exportFile{Organization: d.organization, Users: []exportedUser{}, Teams: []exportedTeam{}, Projects: []exportedProject{},
			ServiceAccounts: []exportedServiceAccount{}, CustomRoles: []exportedRole{}, APIKeys: []exportedKey{}},
	}
	settings, err := d.OrganizationSettings(ctx)
	if err != nil {
		return nil, err
	}
	e.file.Enforced = exportedEnforced(settings.Enforced)
	roles, err := d.Roles(ctx)
	if err != nil {
		return nil, err
	}
	e.roles(roles)
	groups, err := d.Groups(ctx, false)
	if err != nil {
		return nil, err
	}
	for _, g := range groups {
		e.team(g)
	}
	if err := d.Users(ctx, e.user); err != nil {
		return nil, err
	}
	if err := d.ServiceAccounts(ctx, e.serviceAccount); err != nil {
		return nil, err
	}
	if err := d.Projects(ctx, "", e.project); err != nil {
		return nil, err
	}
	if err := d.Keys(ctx, iam.PrincipalRef{}, e.key); err != nil {
		return nil, err
	}
	e.sort()
	return &e.file, nil
}

func (e *exporter) roles(roles []iam.CustomRole) {
	for _, r := range roles {
		e.file.CustomRoles = append(e.file.CustomRoles, exportedRole{r.Name, r.Description, r.Inherits, append([]string{}, r.Permissions...)})
	}
}

func (e *exporter) team(g *Group) {
	e.entities[g.ID.Entity()] = g.Name
	e.teams[g.ID] = &exportedTeam{
		Name: g.Name, ExternalID: g.ExternalID, Members: []exportedTeamMember{},
		Hidden: g.Settings.Hidden, PrivateProjects: g.Settings.PrivateProjects,
		MembersInvite: g.Settings.MembersInvite, AutoJoin: g.Settings.AutoJoin,
	}
}

func (e *exporter) user(u *iam.User) error {
	e.entities[u.ID.PersonalEntity()] = u.Username
	e.users[u.ID] = u
	for _, m := range u.Teams {
		if t := e.teams[m.Team]; t != nil {
			t.Members = append(t.Members, exportedTeamMember{u.Username, m.Role})
		}
	}
	e.file.Users = append(e.file.Users, exportedUser{
		Username: u.Username, Email: u.Email, Name: u.Name, Role: u.Role, BillingAdmin: u.BillingAdmin,
		ModelsSeat: u.ModelsSeat, WeaveSeat: u.WeaveSeat, Active: u.Active,
		DefaultTeam: e.entities[u.DefaultTeam.Entity()],
		GivenName:   u.GivenName, FamilyName: u.FamilyName, ExternalID: u.ExternalID,
	})
	return nil
}

func (e *exporter) serviceAccount(a *iam.ServiceAccount) error {
	e.serviceAccounts[a.ID] = a.Name
	e.file.ServiceAccounts = append(e.file.ServiceAccounts, exportedServiceAccount{
		Name: a.Name, Team: e.entities[a.Team.Entity()], DefaultTeam: e.entities[a.DefaultTeam.Entity()],
		Issuer: a.Issuer, Subject: a.Subject, Claims: a.Claims, Active: a.Active,
	})
	return nil
}

func (e *exporter) project(p *iam.Project) error {
	entity, ok := e.entities[p.Entity]
	if !ok {
		return nil // left behind by a user who was deleted
	}
	out := exportedProject{Entity: entity, Name: p.Name, Visibility: p.Visibility, Owner: e.principal(p.Owner), Members: []exportedMember{}}
	for _, m := range p.Members {
		out.Members = append(out.Members, e.member(p, m))
	}
	slices.SortFunc(out.Members, func(a, b exportedMember) int {
		return cmp.Or(strings.Compare(a.User, b.User), strings.Compare(a.ServiceAccount, b.ServiceAccount))
	})
	e.file.Projects = append(e.file.Projects, out)
	return nil
}

func (e *exporter) member(p *iam.Project, m iam.ProjectMember) exportedMember {
	if m.Principal.Kind == iam.KindServiceAccount {
		return exportedMember{ServiceAccount: e.serviceAccounts[iam.ServiceAccountID(m.Principal.ID)], Role: m.Role}
	}
	id := iam.UserID(m.Principal.ID)
	out := exportedMember{User: e.entities[id.PersonalEntity()], Role: m.Role}
	team, _ := p.Entity.Team()
	if u := e.users[id]; u != nil {
		if place, _ := u.Membership(team); place.Role == iam.RoleViewer {
			out.Role = "" // without effect (PROLE-9), and refused by an import
		}
	}
	return out
}

func (e *exporter) key(k Key) error {
	row := exportedKey{ID: k.ID, Owner: e.principal(k.Owner), Name: k.Name, Created: k.Created,
		Expires: k.Expires, ReadOnly: k.ReadOnly, Project: k.Project}
	if k.Entity != "" {
		name := e.entities[k.Entity]
		row.Entity = &name
	}
	e.file.APIKeys = append(e.file.APIKeys, row)
	return nil
}

// principal returns the owner's name in the file's form; "" for nobody and for who was deleted.
func (e *exporter) principal(ref iam.PrincipalRef) string {
	if ref.Kind == iam.KindServiceAccount {
		if name, ok := e.serviceAccounts[iam.ServiceAccountID(ref.ID)]; ok {
			return serviceAccountPrefix + name
		}
		return ""
	}
	return e.entities[iam.EntityID(ref.ID)]
}

func (e *exporter) sort() {
	f := &e.file
	for _, t := range e.teams {
		slices.SortFunc(t.Members, func(a, b exportedTeamMember) int { return strings.Compare(a.User, b.User) })
		f.Teams = append(f.Teams, *t)
	}
	slices.SortFunc(f.Users, func(a, b exportedUser) int { return strings.Compare(a.Username, b.Username) })
	slices.SortFunc(f.Teams, func(a, b exportedTeam) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(f.Projects, func(a, b exportedProject) int {
		return cmp.Or(strings.Compare(a.Entity, b.Entity), strings.Compare(a.Name, b.Name))
	})
	slices.SortFunc(f.ServiceAccounts, func(a, b exportedServiceAccount) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(f.APIKeys, func(a, b exportedKey) int {
		return cmp.Or(strings.Compare(a.Owner, b.Owner), strings.Compare(string(a.ID), string(b.ID)), strings.Compare(a.Name, b.Name))
	})
}
