package standin

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"
)

// noFlags is what the SDK reads from users without any.
const noFlags = `{"code_saving_enabled":false}`

var _ = define("User", fields[*user]{
	"id":        func(_ *call, u *user, _ arguments) any { return encodeID("User:%d", u.number) },
	"name":      func(_ *call, u *user, _ arguments) any { return u.name },
	"username":  func(_ *call, u *user, _ arguments) any { return u.username },
	"email":     func(_ *call, u *user, _ arguments) any { return textOrNull(u.email) },
	"admin":     func(_ *call, u *user, _ arguments) any { return u.admin },
	"flags":     func(*call, *user, arguments) any { return noFlags },
	"photoUrl":  func(*call, *user, arguments) any { return nil },
	"deletedAt": func(*call, *user, arguments) any { return nil },
	"accountType": func(_ *call, u *user, _ arguments) any {
		if u.service {
			return "SERVICE"
		}
		return "MEMBER"
	},
	"entity": func(c *call, u *user, _ arguments) any {
		if t := c.server.defaultEntity(u); t != nil {
			return t.name
		}
		return nil
	},
	"apiKeys": func(c *call, u *user, a arguments) any {
		if c.user != u {
			return page([]*apiKey{}, a)
		}
		return page(u.keys, a)
	},
	"teams": func(c *call, u *user, a arguments) any { return page(c.state.teamsOf(u), a) },
	"organizations": func(c *call, _ *user, _ arguments) any {
		return []organization{{c.server.config.Organization}}
	},
	"projects": func(c *call, u *user, a arguments) any {
		var all []*project
		for _, t := range c.state.teamsOf(u) {
			all = append(all, c.projectsOf(t)...)
		}
		return page(all, a)
	},
})

var _ = define("ApiKey", fields[*apiKey]{
	"id": func(_ *call, k *apiKey, _ arguments) any { return encodeID("ApiKey:%d", k.number) },
	// The name of a key is its secret: so the SDK expects it (sdk-wire section 8).
	"name":        func(_ *call, k *apiKey, _ arguments) any { return k.secret },
	"description": func(_ *call, k *apiKey, _ arguments) any { return textOrNull(k.description) },
})

type organization struct{ name string }

var _ = define("Organization", fields[organization]{
	"id":                       func(*call, organization, arguments) any { return encodeID("Organization:1") },
	"name":                     func(_ *call, o organization, _ arguments) any { return o.name },
	"orgEntity":                func(c *call, o organization, _ arguments) any { return c.entity(o.name) },
	"coreWeaveOrganizationId":  func(*call, organization, arguments) any { return nil },
	"featureFlags":             func(*call, organization, arguments) any { return []payload{} },
	"advancedRegistryFeatures": func(*call, organization, arguments) any { return nil },
	"teams": func(c *call, _ organization, _ arguments) any {
		var out []*team
		for _, t := range c.state.teams {
			if t.personal == nil {
				out = append(out, t)
			}
		}
		return out
	},
})

var _ = define("Entity", fields[*team]{
	"id":        func(_ *call, t *team, _ arguments) any { return encodeID("Entity:%d", t.number) },
	"name":      func(_ *call, t *team, _ arguments) any { return t.name },
	"available": func(*call, *team, arguments) any { return false },
	"photoUrl":  func(*call, *team, arguments) any { return nil },
	"readOnly": func(c *call, t *team, _ arguments) any {
		m := t.member(c.user)
		return !c.server.config.Trust && (m == nil || m.role == "viewer")
	},
	"readOnlyAdmin":       func(*call, *team, arguments) any { return false },
	"isTeam":              func(_ *call, t *team, _ arguments) any { return t.personal == nil },
	"privateOnly":         func(*call, *team, arguments) any { return false },
	"storageBytes":        func(*call, *team, arguments) any { return 0 },
	"codeSavingEnabled":   func(*call, *team, arguments) any { return false },
	"defaultAccess":       func(*call, *team, arguments) any { return "PRIVATE" },
	"isPaid":              func(*call, *team, arguments) any { return true },
	"limits":              func(*call, *team, arguments) any { return nil },
	"settings":            func(*call, *team, arguments) any { return nil },
	"computeHours":        func(*call, *team, arguments) any { return 0 },
	"organization":        func(c *call, _ *team, _ arguments) any { return organization{c.server.config.Organization} },
	"user":                func(_ *call, t *team, _ arguments) any { return t.personal },
	"projects":            func(c *call, t *team, a arguments) any { return page(c.projectsOf(t), a) },
	"integrations":        func(*call, *team, arguments) any { return page([]payload{}, nil) },
	"artifactCollections": func(*call, *team, arguments) any { return page([]payload{}, nil) },
	"entityType": func(_ *call, t *team, _ arguments) any {
		if t.personal != nil {
			return "USER"
		}
		return "TEAM"
	},
	"project": func(c *call, t *team, a arguments) any {
		return c.project(arguments{"entityName": t.name, "name": a["name"]}, "name")
	},
	"members": func(c *call, t *team, _ arguments) any {
		if !c.server.config.Trust && !c.user.isAdmin() && t.member(c.user) == nil {
			return permissionDenied("only members see a team's members")
		}
		return t.members
	},
})

func (u *user) isAdmin() bool { return u != nil && u.admin }

var _ = define("Member", fields[*member]{
	"id":       func(_ *call, m *member, _ arguments) any { return encodeID("Member:%d", m.number) },
	"admin":    func(_ *call, m *member, _ arguments) any { return m.role == "admin" },
	"role":     func(_ *call, m *member, _ arguments) any { return m.role },
	"pending":  func(_ *call, m *member, _ arguments) any { return m.user == nil },
	"photoUrl": func(*call, *member, arguments) any { return nil },
	"email": func(_ *call, m *member, _ arguments) any {
		if m.user == nil {
			return m.pending
		}
		return textOrNull(m.user.email)
	},
	"username": func(_ *call, m *member, _ arguments) any {
		if m.user == nil {
			return nil
		}
		return m.user.username
	},
	"name": func(_ *call, m *member, _ arguments) any {
		if m.user == nil {
			return m.pending
		}
		return m.user.name
	},
	"accountType": func(_ *call, m *member, _ arguments) any {
		if m.user != nil && m.user.service {
			return "SERVICE"
		}
		return "MEMBER"
	},
	// Team admins are shown the keys of service accounts.
	"apiKey": func(c *call, m *member, _ arguments) any {
		if m.user == nil || !m.user.service || len(m.user.keys) == 0 || !c.server.mayManage(c.caller, m.user.team) {
			return nil
		}
		return m.user.keys[0].secret
	},
})

var _ = mutation(fields[mutationRoot]{
	"createUser": func(c *call, _ mutationRoot, a arguments) any {
		in := a.object("input")
		email := in.text("email")
		if !c.server.config.Trust && !c.user.isAdmin() {
			return permissionDenied("creating users is for admins")
		}
		if !strings.Contains(email, "@") || c.state.user(email) != nil {
			return fmt.Errorf("%q is no e-mail address or belongs to a user", email)
		}
		name, _, _ := strings.Cut(email, "@")
		return payload{"user": c.state.addUser(user{username: name, email: email, admin: in.truth("admin")})}
	},
	"generateApiKey": func(c *call, _ mutationRoot, a arguments) any {
		if c.user == nil {
			return permissionDenied("sign in first")
		}
		return payload{"apiKey": c.state.addKey(c.user, newSecret(), a.object("input").text("description"))}
	},
	"deleteApiKey": func(c *call, _ mutationRoot, a arguments) any {
		k, ok := find[*apiKey](c.state, a.object("input").text("id"))
		if !ok || k.owner != c.user && !c.user.isAdmin() {
			return permissionDenied("no such key of yours")
		}
		k.owner.keys = slices.DeleteFunc(k.owner.keys, func(other *apiKey) bool { return other == k })
		return payload{"success": true}
	},
	"createTeam": func(c *call, _ mutationRoot, a arguments) any {
		in := a.object("input")
		name := in.text("teamName")
		if !c.server.config.Trust && !c.user.isAdmin() {
			return permissionDenied("creating teams is for admins")
		}
		if name == "" || c.state.teams[name] != nil {
			return fmt.Errorf("the name %q is empty or taken", name)
		}
		admin := c.user
		if in.given("teamAdminUserName") {
			admin = c.state.user(in.text("teamAdminUserName"))
		}
		if admin == nil {
			return fmt.Errorf("user %q not found", in.text("teamAdminUserName"))
		}
		t := c.state.addTeam(name)
		c.state.join(t, admin, "admin")
		return payload{"entity": t}
	},
	"createInvite": func(c *call, _ mutationRoot, a arguments) any {
		in := a.object("input")
		t := c.entity(in.text("entityName"))
		if t == nil {
			return entityNotFound(in.text("entityName"), "createInvite")
		}
		if !c.server.mayManage(c.caller, t) {
			return permissionDenied("inviting is for team admins")
		}
		role := "member"
		if in.truth("admin") {
			role = "admin"
		}
		invited := c.state.user(in.text("username"))
		if invited == nil {
			invited = c.state.user(in.text("email"))
		}
		if invited == nil {
			return fmt.Errorf("user %s%s not found", in.text("username"), in.text("email"))
		}
		m := c.state.join(t, invited, role)
		return payload{"invite": payload{
			"id": encodeID("Invite:%d", m.number), "name": invited.name, "email": textOrNull(invited.email),
			"createdAt": stamp(now()), "toUser": invited,
		}}
	},
	"deleteInvite": func(c *call, _ mutationRoot, a arguments) any {
		in := a.object("input")
		t := c.entity(in.text("entityName"))
		m, ok := find[*member](c.state, in.text("id"))
		if t == nil || !ok || !slices.Contains(t.members, m) {
			return fmt.Errorf("no such member")
		}
		if !c.server.mayManage(c.caller, t) {
			return permissionDenied("removing members is for team admins")
		}
		t.members = slices.DeleteFunc(t.members, func(other *member) bool { return other == m })
		if m.user != nil && m.user.service {
			m.user.deleted = true
		}
		return payload{"success": true}
	},
	"createServiceAccount": func(c *call, _ mutationRoot, a arguments) any {
		in := a.object("input")
		t := c.entity(in.text("entityName"))
		if t == nil {
			return entityNotFound(in.text("entityName"), "createServiceAccount")
		}
		if !c.server.mayManage(c.caller, t) {
			return permissionDenied("service accounts are for team admins")
		}
		account := c.state.addUser(user{username: in.text("description"), service: true, team: t})
		c.state.addKey(account, newSecret(), "")
		c.state.join(t, account, "member")
		return payload{"user": account}
	},
})

// newSecret returns a key in the form that every SDK accepts: 40 hex digits.
func newSecret() string {
	var b [20]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

func textOrNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// stamp is the form of times in W&B's answers; the zero time is null.
func stamp(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.Format("2006-01-02T15:04:05")
}
