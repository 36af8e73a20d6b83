package directory

import (
	"slices"

	"github.com/wandb-gateway/wandb-gateway/internal/apikey"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/untrusted"
)

// One function for each list of the import file. Each reads its row's members first, so that a
// faulty row is reported whole, and then applies it.

func (im *importer) customRole(r *row) error {
	name := r.needText("name")
	description, inherits, permissions := r.text("description"), r.text("inherits"), r.texts("permissions")
	if err := im.begin(r, "custom_role", name, name); err != nil {
		return err
	}
	roles, err := im.tx.roles()
	if err != nil {
		return err
	}
	role := iam.CustomRole{Name: name, Inherits: iam.RoleViewer}
	at := roles.index(iam.Role(name))
	if at >= 0 {
		role = roles.Roles[at]
	}
	set(&role.Description, description)
	set(&role.Permissions, permissions)
	if inherits != nil {
		role.Inherits, _ = iam.ParseRole(*inherits) // what it inherits from is judged with the role
	}
	before := im.tx.changes
	if _, err := im.tx.setRole(role); err != nil {
		return err
	}
	im.count("custom_role", name, at < 0, im.tx.changes != before)
	return nil
}

// importedUser is a row of users whose default team is not set yet.
type importedUser struct {
	row              *row
	id               iam.UserID
	created, changed bool
	defaultTeam      *string
}

func (im *importer) user(r *row) error {
	username := r.needText("username")
	c := UserChange{
		Email: r.text("email"), Name: r.text("name"), BillingAdmin: r.truth("billing_admin"), Active: r.truth("active"),
		Role:       parsed(r, "role", iam.ParseOrganizationRole),
		ModelsSeat: parsed(r, "models_seat", iam.ParseSeat),
		WeaveSeat:  parsed(r, "weave_seat", iam.ParseSeat),
		GivenName:  r.text("given_name"), FamilyName: r.text("family_name"), ExternalID: r.text("external_id"),
	}
	defaultTeam := r.text("default_team")
	if err := im.begin(r, "user", username, iam.FoldName(username)); err != nil {
		return err
	}
	if err := validName("user name", username); err != nil {
		return err
	}
	before := im.tx.changes
	id, err := im.tx.findUser(username)
	if err != nil {
		return err
	}
	created := id == ""
	if created {
		u, err := im.tx.createUser(newUser(username, c))
		if err != nil {
			return err
		}
		id = u.ID
	} else if _, err := im.tx.setUser(id, c); err != nil {
		return err
	}
	im.users = append(im.users, importedUser{r, id, created, im.tx.changes != before, defaultTeam})
	return nil
}

func newUser(username string, c UserChange) NewUser {
	n := NewUser{Username: username}
	set(&n.Email, c.Email)
	set(&n.Name, c.Name)
	set(&n.Role, c.Role)
	set(&n.BillingAdmin, c.BillingAdmin)
	set(&n.ModelsSeat, c.ModelsSeat)
	set(&n.WeaveSeat, c.WeaveSeat)
	set(&n.GivenName, c.GivenName)
	set(&n.FamilyName, c.FamilyName)
	set(&n.ExternalID, c.ExternalID)
	n.Inactive = c.Active != nil && !*c.Active
	return n
}

// settleUsers gives people their default teams, which the file's own teams may be.
func (im *importer) settleUsers() error {
	for _, u := range im.users {
		before := im.tx.changes
		if err := im.judge(u.row, im.setDefaultTeam(u)); err != nil {
			return err
		}
		im.count("user", u.row.name, u.created, u.changed || im.tx.changes != before)
	}
	return nil
}

func (im *importer) setDefaultTeam(u importedUser) (err error) {
	if u.defaultTeam == nil {
		return nil
	}
	var team iam.TeamID
	if *u.defaultTeam != "" {
		if team, err = im.teamNamed(*u.defaultTeam); err != nil {
			return err
		}
	}
	_, err = im.tx.setUser(u.id, UserChange{DefaultTeam: &team})
	return err
}

func (im *importer) team(r *row) error {
	name := r.needText("name")
	type teamMember struct {
		user string
		role *iam.Role
	}
	var members []teamMember
	listed := r.rows("members", func(i int, m *row) {
		members = append(members, teamMember{m.needText("user"), parsed(m, "role", iam.ParseRole)})
		m.unknown()
		r.within("members", i, m)
	})
	externalID := r.text("external_id")
	settings := TeamSettingsChange{
		Hidden: r.truth("hidden"), PrivateProjects: r.truth("private_projects"),
		MembersInvite: r.truth("members_invite"), AutoJoin: r.truth("auto_join"),
	}
	if err := im.begin(r, "team", name, iam.FoldName(name)); err != nil {
		return err
	}
	before := im.tx.changes
	id, err := im.tx.findTeam(name)
	if err != nil {
		return err
	}
	created := id == ""
	if created {
		t, err := im.tx.createTeam(name)
		if err != nil {
			return err
		}
		id = t.ID
	}
	if off := settings.PrivateProjects; off != nil && !*off { // the file's projects may be opened
		if _, err := im.tx.setTeamSettings(id, TeamSettingsChange{PrivateProjects: off}); err != nil {
			return err
		}
	}
	if externalID != nil {
		if err := im.tx.setGroup(id, func(g *groupRecord) { g.ExternalID = *externalID }); err != nil {
			return err
		}
	}
	var kept []iam.UserID
	for i, m := range members {
		user, err := im.userNamed(m.user)
		if err == nil && slices.Contains(kept, user) {
			err = iam.Invalidf("%s is in the list twice", m.user)
		}
		if err == nil {
			err = im.setMember(id, user, m.role)
		}
		if err != nil && !refusal(err) {
			return err
		}
		r.note("members", i, err)
		if err == nil {
			kept = append(kept, user)
		}
	}
	if len(kept) < len(members) {
		return errFaulty
	}
	if im.options.Prune && listed {
		if err := im.pruneMembers(id, kept); err != nil {
			return err
		}
	}
	im.teams = append(im.teams, importedTeam{r, id, created, im.tx.changes != before, settings})
	return nil
}

// importedTeam is a row of teams whose settings are not set yet.
type importedTeam struct {
	row              *row
	id               iam.TeamID
	created, changed bool
	settings         TeamSettingsChange
}

// settleTeams sets what teams are set to after everything else: a file that was exported holds projects that were
// opened before its team kept them private, and people who joined it before newcomers did so.
func (im *importer) settleTeams() error {
	for _, t := range im.teams {
		before := im.tx.changes
		_, err := im.tx.setTeamSettings(t.id, t.settings)
		if err := im.judge(t.row, err); err != nil {
			return err
		}
		im.count("team", t.row.name, t.created, t.changed || im.tx.changes != before)
	}
	return nil
}

// enforced reads what the organization decides for all teams, and leaves to the teams what it is to decide in another way:
// that is set last, as with teams.
func (im *importer) enforced(top *row) (OrganizationChange, error) {
	v, ok := top.ask("enforced", anObject)
	if !ok {
		return OrganizationChange{}, nil
	}
	r := &row{value: *v, label: "enforced"}
	to := OrganizationChange{
		EnforceHidden:          parsed(r, "hidden", iam.ParseSwitch),
		EnforcePrivateProjects: parsed(r, "private_projects", iam.ParseSwitch),
		EnforceMembersInvite:   parsed(r, "members_invite", iam.ParseSwitch),
	}
	r.unknown()
	if err := im.judge(r, nil); err != nil {
		return to, err
	}
	is, err := im.tx.organizationSettings()
	if err != nil {
		return to, err
	}
	lifted := OrganizationChange{
		lifts(is.Enforced.Hidden, to.EnforceHidden),
		lifts(is.Enforced.PrivateProjects, to.EnforcePrivateProjects),
		lifts(is.Enforced.MembersInvite, to.EnforceMembersInvite),
	}
	after, err := im.tx.setOrganization(to)
	if err == nil && after != is {
		im.count("organization", im.tx.d.organization, false, true)
	}
	if err == nil {
		_, err = im.tx.setOrganization(lifted)
	}
	return to, err
}

// lifts returns the position in which a switch lets everything pass that it will let pass later; nil if it stays.
func lifts(is iam.Switch, to *iam.Switch) *iam.Switch {
	if to == nil || *to == is {
		return nil
	}
	return new(iam.Switch)
}

func (im *importer) settleEnforced(to OrganizationChange) error {
	_, err := im.tx.setOrganization(to)
	return err
}

// setMember makes somebody a member; a row without a role leaves the role of who is there.
func (im *importer) setMember(team iam.TeamID, user iam.UserID, role *iam.Role) error {
	if role == nil {
		u, err := im.tx.user(user)
		if err != nil {
			return err
		}
		if _, there := u.Membership(team); there {
			return nil
		}
		member := iam.RoleMember
		role = &member
	}
	_, err := im.tx.setMember(team, user, *role)
	return err
}

func (im *importer) serviceAccount(r *row) error {
	name := r.needText("name")
	team, defaultTeam := r.text("team"), r.text("default_team")
	c := ServiceAccountChange{Issuer: r.text("issuer"), Subject: r.text("subject"), Claims: r.namedTexts("claims"), Active: r.truth("active")}
	if err := im.begin(r, "service_account", name, iam.FoldName(name)); err != nil {
		return err
	}
	if err := validName("service account name", name); err != nil {
		return err
	}
	var home, fallback iam.TeamID
	var err error
	if team != nil && *team != "" {
		if home, err = im.teamNamed(*team); err != nil {
			return err
		}
	}
	if defaultTeam != nil && *defaultTeam != "" {
		if fallback, err = im.teamNamed(*defaultTeam); err != nil {
			return err
		}
		c.DefaultTeam = &fallback
	}
	before := im.tx.changes
	was, err := im.tx.findServiceAccount(name)
	switch {
	case err != nil:
		return err
	case was == nil:
		n := NewServiceAccount{Name: name, Team: home, DefaultTeam: fallback, Inactive: c.Active != nil && !*c.Active}
		set(&n.Issuer, c.Issuer)
		set(&n.Subject, c.Subject)
		set(&n.Claims, c.Claims)
		_, err = im.tx.createServiceAccount(n)
	case team != nil && home != was.Team:
		return iam.Invalidf("the service account is there already and cannot change its team, because its keys would change sides with it: delete it and make a new one")
	default:
		_, err = im.tx.setServiceAccount(was.ID, c)
	}
	if err != nil {
		return err
	}
	im.count("service_account", name, was == nil, im.tx.changes != before)
	return nil
}

func (im *importer) project(r *row) error {
	entityName, name := r.needText("entity"), r.needText("name")
	visibility, owner := parsed(r, "visibility", iam.ParseVisibility), r.text("owner")
	var listed []projectMember
	replace := r.rows("members", func(i int, m *row) {
		listed = append(listed, projectMember{m.text("user"), m.text("service_account"), parsed(m, "role", iam.ParseRole)})
		m.unknown()
		r.within("members", i, m)
	})
	if err := im.begin(r, "project", entityName+"/"+name, iam.FoldName(entityName)+"/"+name); err != nil {
		return err
	}
	if !iam.ValidProjectName(name) {
		return invalidProjectName(name)
	}
	entity, err := im.entityNamed(entityName)
	if err != nil {
		return err
	}
	before := im.tx.changes
	p, err := load[iam.Project](im.tx, im.tx.d.names.project(entity, name))
	if err != nil {
		return err
	}
	created := p == nil
	if created {
		team := iam.VisibilityTeam
		if visibility == nil {
			visibility = &team
		}
		if p, err = im.tx.createProject(NewProject{Entity: entity, Name: name, Visibility: *visibility}); err != nil {
			return err
		}
	}
	c := ProjectChange{Visibility: visibility}
	if owner != nil {
		ref, err := im.principalNamed(*owner)
		if err != nil {
			return err
		}
		// Not judged: a file may be of a time when its owner was in the team, and says who it was (VIS-12).
		if err := im.tx.present(ref); err != nil {
			return err
		}
		p.Owner = ref
	}
	if err := im.tx.setProject(p, c); err != nil {
		return err
	}
	if replace {
		members, err := im.projectMembers(r, p, listed)
		if err != nil {
			return err
		}
		if err := im.tx.setProjectMembers(p, members); err != nil {
			return err
		}
	}
	im.count("project", r.name, created, im.tx.changes != before)
	return nil
}

type projectMember struct {
	user, serviceAccount *string
	role                 *iam.Role
}

// projectMembers resolves a project's list. Each entry is judged by itself, so that every bad one is
// reported.
func (im *importer) projectMembers(r *row, p *iam.Project, listed []projectMember) ([]iam.ProjectMember, error) {
	var members []iam.ProjectMember
	for i, m := range listed {
		entry, err := im.projectMember(p, m)
		if err == nil && slices.ContainsFunc(members, func(other iam.ProjectMember) bool { return other.Principal == entry.Principal }) {
			err = iam.Invalidf("is in the list twice")
		}
		if err == nil {
			members = append(members, entry)
			continue
		}
		if !refusal(err) {
			return nil, err
		}
		r.note("members", i, err)
	}
	if len(members) < len(listed) {
		return nil, errFaulty
	}
	return members, nil
}

func (im *importer) projectMember(p *iam.Project, m projectMember) (entry iam.ProjectMember, err error) {
	switch {
	case (m.user == nil) == (m.serviceAccount == nil):
		return entry, iam.Invalidf("needs either user or service_account")
	case m.user != nil:
		id, err := im.userNamed(*m.user)
		if err != nil {
			return entry, err
		}
		entry.Principal = id.Ref()
	default:
		if entry.Principal, err = im.serviceAccountNamed(*m.serviceAccount); err != nil {
			return entry, err
		}
	}
	set(&entry.Role, m.role)
	was, there := p.Member(entry.Principal)
	if there && was == entry {
		return entry, nil
	}
	if there && m.role == nil {
		// A role that a View-Only team role beats at present (PROLE-9) is not exported, and stays.
		team, _ := p.Entity.Team()
		_, teamRole, err := im.tx.placeInTeam(team, entry.Principal)
		if err != nil || teamRole == iam.RoleViewer {
			return was, err
		}
	}
	return im.tx.judgeProjectMember(p, entry)
}

func (im *importer) apiKey(r *row) error {
	owner, name, key, id := r.needText("owner"), r.text("name"), r.text("key"), r.text("id")
	r.text("created") // exported for people
	limits := readKeyLimits(r)
	at := r.label
	var sum string
	if key != nil {
		sum = im.tx.d.hashOf(iam.NewSecret(*key))
		at = sum
	} else if id == nil {
		r.faultf("key is missing: give the key, or as in an export its id")
	}
	if err := im.begin(r, "api_key", owner, at); err != nil {
		return err
	}
	ref, err := im.principalNamed(owner)
	if err != nil {
		return err
	}
	if key == nil {
		return im.keyKnownByID(ref, iam.KeyID(*id), name, limits)
	}
	if secret := iam.NewSecret(*key); id != nil && *id != string(apikey.ID(secret)) {
		return iam.Invalidf("the key has not the id %s: give the key without an id", untrusted.Clip(*id))
	}
	before := im.tx.changes
	was, err := load[keyRecord](im.tx, im.tx.d.names.key+sum)
	if err != nil {
		return err
	}
	n := NewKey{Owner: ref, Name: deref(name)}
	if was != nil {
		if name == nil {
			n.Name = was.Name
		}
		err = im.sameLimits(limits, was)
	} else {
		n.Limits, err = im.newLimits(limits)
	}
	if err != nil {
		return err
	}
	c, err := im.tx.putKey(n, iam.NewSecret(*key))
	if err != nil {
		return err
	}
	im.count("api_key", string(c.After.ID), c.Before == nil, im.tx.changes != before)
	return nil
}

// keyKnownByID applies an exported row, which has no key: it can rename the key, and keeps it from
// being pruned. A key that is not recorded here cannot be made from its id.
func (im *importer) keyKnownByID(owner iam.PrincipalRef, id iam.KeyID, name *string, limits importedLimits) error {
	found, err := im.tx.keysWithID(owner, id)
	if err != nil {
		return err
	}
	before := im.tx.changes
	for _, k := range found {
		im.named["api_key/"+k.sum] = "its id"
		if len(found) > 1 {
			continue // which of them is meant cannot be told
		}
		if err := im.sameLimits(limits, k.record); err != nil {
			return err
		}
		if name == nil {
			continue
		}
		if err := validLabel("key name", *name); err != nil {
			return err
		}
		k.record.Name = *name
		if err := im.tx.put(im.tx.d.names.key+k.sum, k.record); err != nil {
			return err
		}
	}
	if len(found) == 0 {
		im.result.Ignored++
		return nil
	}
	im.count("api_key", string(id), false, im.tx.changes != before)
	return nil
}

// parsed reads a member that has a vocabulary.
func parsed[T any](r *row, name string, parse func(string) (T, error)) *T {
	s := r.text(name)
	if s == nil {
		return nil
	}
	v, err := parse(*s)
	if err != nil {
		r.faultf("%s: %s", name, err)
		return nil
	}
	return &v
}

// within adds the faults of an object inside the row to the row's.
func (r *row) within(name string, i int, inner *row) {
	if inner.value.kind != anObject {
		inner.faults = []string{"is " + inner.value.kind + " and must be an object"}
	}
	for _, fault := range inner.faults {
		r.faultf("%s[%d]: %s", name, i, fault)
	}
}

// note notes why an entry of a list was refused, unless that is reported elsewhere.
func (r *row) note(name string, i int, err error) {
	if err != nil && err != errFaulty {
		r.faultf("%s[%d]: %s", name, i, err)
	}
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
