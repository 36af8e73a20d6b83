package standin

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// sessionCookie holds the server's own sign-in.
const sessionCookie = "wandb_session"

// caller is who a request is from, as far as the server can tell.
type caller struct {
	user *user // nil: anonymous
	// onBehalf is the person that a service account works for.
	onBehalf *user
}

// owner is who a new run belongs to.
func (c caller) owner() *user { return cmp.Or(c.onBehalf, c.user) }

var errUnknownCredential = &statusError{http.StatusUnauthorized, "The API key or token is not known to this server."}

// identify finds the caller. A credential that is not known is an error; none is anonymous.
// Server.mu is held.
func (s *Server) identify(r *http.Request) (caller, error) {
	if s.config.Trust {
		return s.trusted(r), nil
	}
	who, err := s.credential(r)
	if err != nil || who == nil {
		return caller{}, err
	}
	c := caller{user: who}
	if who.service {
		c.onBehalf = s.attributed(who, r.Header)
	}
	return c, nil
}

// credential looks up API key, bearer token or session cookie.
func (s *Server) credential(r *http.Request) (*user, error) {
	if secret, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		if u := s.tokens[secret]; u != nil && !u.deleted {
			return u, nil
		}
		return nil, errUnknownCredential
	}
	if _, secret, ok := r.BasicAuth(); ok {
		if u := s.keyOwner(secret); u != nil {
			return u, nil
		}
		return nil, errUnknownCredential
	}
	if r.Header.Get("Authorization") != "" {
		return nil, errUnknownCredential
	}
	if cookie, err := r.Cookie(sessionCookie); err == nil {
		if u := s.sessions[cookie.Value]; u != nil && !u.deleted {
			return u, nil
		}
	}
	return nil, nil
}

func (s *Server) keyOwner(secret string) *user {
	for _, u := range s.state.users {
		for _, k := range u.keys {
			if !u.deleted && secret != "" && k.secret == secret {
				return u
			}
		}
	}
	return nil
}

// attributed is the person whom a service account names, if the account's team knows the person
// (iam.md ATTR-3, ATTR-5).
func (s *Server) attributed(account *user, h http.Header) *user {
	person := s.state.user(cmp.Or(h.Get("X-Wandb-Username"), h.Get("X-Wandb-User-Email")))
	if person == nil || account.team != nil && account.team.member(person) == nil {
		return nil
	}
	return person
}

// trusted believes the gateway's headers.
func (s *Server) trusted(r *http.Request) caller {
	var c caller
	if name := r.Header.Get("X-Forwarded-User"); name != "" {
		c.user = s.named(name, r.Header.Get("X-Forwarded-Email"))
		c.user.service = strings.HasPrefix(r.Header.Get("X-Wandb-Gateway-Principal"), "service_account:")
	}
	name := cmp.Or(r.Header.Get("X-Wandb-Username"), r.Header.Get("X-Wandb-User-Email"))
	if name == "" {
		return c
	}
	if c.user == nil {
		c.user = s.named(name, "")
	} else if c.user.service {
		c.onBehalf = s.named(name, "")
	}
	return c
}

// named returns the account of that name and makes it if it is new.
func (s *Server) named(name, email string) *user {
	if u := s.state.user(name); u != nil {
		return u
	}
	return s.state.addUser(user{username: name, email: email})
}

// entity finds a team or personal entity; in trust mode naming one makes it.
func (s *Server) entity(name string) *team {
	t := s.state.teams[name]
	if t == nil && s.config.Trust && name != "" {
		t = s.state.addTeam(name)
	}
	return t
}

// mayRead and mayWrite follow the four visibilities of iam.md section 6 and the older names that
// servers still hold for them (sdk-wire 4.5). Instance admins read everything.
func (s *Server) mayRead(c caller, p *project) bool {
	switch {
	case s.config.Trust || c.user != nil && c.user.admin:
		return true
	case p.access == "USER_WRITE" || p.access == "USER_READ":
		return true
	case p.access == "PRIVATE" || p.access == "ENTITY_READ" || p.access == "ENTITY_WRITE":
		return p.entity.member(c.user) != nil
	default:
		return p.entity.member(c.user) != nil && p.invites(c.user)
	}
}

func (s *Server) mayWrite(c caller, p *project) bool {
	if s.config.Trust {
		return true
	}
	m := p.entity.member(c.user)
	switch {
	case c.user == nil:
		return false
	case p.access == "USER_WRITE":
		return m == nil || m.role != "viewer"
	case p.access == "USER_READ" || p.access == "PRIVATE" || p.access == "ENTITY_READ" || p.access == "ENTITY_WRITE":
		return m != nil && m.role != "viewer"
	default:
		return m != nil && m.role != "viewer" && p.invites(c.user)
	}
}

// mayManage reports whether the caller may change a team and the projects in it.
func (s *Server) mayManage(c caller, t *team) bool {
	if s.config.Trust || c.user != nil && c.user.admin {
		return true
	}
	m := t.member(c.user)
	return m != nil && m.role == "admin"
}

func (p *project) invites(u *user) bool {
	return u != nil && (p.owner == u || slices.Contains(p.invited, u))
}

// defaultEntity is where work goes that names no entity: a service account's team, else the
// person's only team, else the personal entity.
func (s *Server) defaultEntity(u *user) *team {
	if u == nil {
		return nil
	}
	if u.team != nil {
		return u.team
	}
	if teams := s.state.teamsOf(u); len(teams) == 1 {
		return teams[0]
	}
	return s.state.teams[u.username]
}

func permissionDenied(what string) error {
	return &statusError{http.StatusForbidden, "permission denied: " + what}
}

func entityNotFound(name, during string) error {
	return &statusError{http.StatusNotFound, fmt.Sprintf("entity %s not found during %s", name, during)}
}
