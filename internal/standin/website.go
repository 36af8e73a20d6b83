package standin

import (
	"encoding/json"
	"html/template"
	"net/http"
	"strings"
	"time"
)

// The server's own website and machine doors, small but whole: a sign-in form that sets a session
// cookie, pages that say who is signed in, a token door that answers bearer tokens, SCIM and the
// audit log. They exist so that tests can show that the server's own ways in keep working through
// the gateway.
func (s *Server) websiteRoutes(mux *http.ServeMux) {
	mux.HandleFunc("GET /login", func(w http.ResponseWriter, _ *http.Request) { writePage(w, http.StatusOK, "Sign in", "") })
	mux.HandleFunc("POST /login", s.serveSignIn)
	mux.HandleFunc("POST /logout", s.serveSignOut)
	mux.HandleFunc("POST /oidc/token", s.serveToken)
	mux.HandleFunc("GET /scim/Users", s.serveSCIMUsers)
	mux.HandleFunc("POST /scim/Users", s.serveSCIMCreate)
	mux.HandleFunc("GET /scim/Groups", s.serveSCIMGroups)
	mux.HandleFunc("GET /admin/audit_logs", s.serveAuditLogs)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("ok\n")) })
	mux.HandleFunc("GET /ready", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("ok\n")) })
	mux.HandleFunc("GET /", s.servePage)
}

var websitePage = template.Must(template.New("page").Parse(`<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>{{.Title}} – stand-in</title>
<h1>{{.Title}}</h1>
{{if .User}}<p>Signed in as <b id="user">{{.User}}</b></p>
<form method="post" action="/logout"><button>Sign out</button></form>
{{else}}<form method="post" action="/login">
<label>User name <input name="username"></label>
<label>Password <input name="password" type="password"></label>
<button>Sign in</button>
</form>{{end}}
</html>
`))

func writePage(w http.ResponseWriter, status int, title, user string) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	websitePage.Execute(w, struct{ Title, User string }{title, user})
}

func (s *Server) serveSignIn(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	username := r.PostFormValue("username")
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.state.user(username)
	if u == nil || s.passwords[u.username] == "" || s.passwords[u.username] != r.PostFormValue("password") {
		writePage(w, http.StatusUnauthorized, "User name or password is wrong", "")
		return
	}
	secret := newSecret()
	s.sessions[secret] = u
	http.SetCookie(w, &http.Cookie{Name: sessionCookie, Value: secret, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode})
	http.Redirect(w, r, "/home", http.StatusSeeOther)
}

func (s *Server) serveSignOut(w http.ResponseWriter, r *http.Request) {
	if cookie, err := r.Cookie(sessionCookie); err == nil {
		s.mu.Lock()
		delete(s.sessions, cookie.Value)
		s.mu.Unlock()
	}
	http.SetCookie(w, &http.Cookie{Name: sessionCookie, Path: "/", MaxAge: -1})
	http.Redirect(w, r, "/login", http.StatusSeeOther)
}

// servePage is every page of the web application.
func (s *Server) servePage(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	who, err := s.identify(r)
	s.mu.Unlock()
	if err != nil {
		writePage(w, http.StatusUnauthorized, "Unknown credential", "")
		return
	}
	if who.user == nil {
		writePage(w, http.StatusOK, "Welcome", "")
		return
	}
	writePage(w, http.StatusOK, "Page "+r.URL.Path, who.user.username)
}

// tokenLife is how long the server says its bearer tokens live.
const tokenLife = time.Hour

// serveToken is the server's own exchange of an assertion for a bearer token (sdk-wire 1.3).
func (s *Server) serveToken(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.state.user(s.config.Assertions[r.PostFormValue("assertion")])
	if u == nil {
		writeJSON(w, http.StatusBadRequest, map[string]string{"error": "invalid_grant"})
		return
	}
	secret := newSecret()
	s.tokens[secret] = u
	writeJSON(w, http.StatusOK, map[string]any{
		"access_token": secret, "token_type": "Bearer", "expires_in": int(tokenLife / time.Second),
	})
}

// asAdmin runs serve for an instance admin and refuses everyone else.
func (s *Server) asAdmin(w http.ResponseWriter, r *http.Request, serve func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	who, err := s.identify(r)
	switch {
	case err != nil || who.user == nil:
		writeError(w, http.StatusUnauthorized, "sign in first")
	case !who.user.admin && !s.config.Trust:
		writeError(w, http.StatusForbidden, "for admins")
	default:
		serve()
	}
}

func (s *Server) serveSCIMUsers(w http.ResponseWriter, r *http.Request) {
	s.asAdmin(w, r, func() {
		list := []any{}
		for _, u := range s.state.users {
			if !u.service && !u.deleted {
				list = append(list, u.scim())
			}
		}
		writeSCIM(w, http.StatusOK, scimList(list))
	})
}

func (s *Server) serveSCIMCreate(w http.ResponseWriter, r *http.Request) {
	var sent struct {
		UserName string `json:"userName"`
		Emails   []struct {
			Value string `json:"value"`
		} `json:"emails"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&sent); err != nil || sent.UserName == "" {
		writeError(w, http.StatusBadRequest, "userName is missing")
		return
	}
	s.asAdmin(w, r, func() {
		if s.state.user(sent.UserName) != nil {
			writeError(w, http.StatusConflict, "userName is taken")
			return
		}
		added := user{username: sent.UserName}
		if len(sent.Emails) > 0 {
			added.email = sent.Emails[0].Value
		}
		writeSCIM(w, http.StatusCreated, s.state.addUser(added).scim())
	})
}

func (s *Server) serveSCIMGroups(w http.ResponseWriter, r *http.Request) {
	s.asAdmin(w, r, func() {
		list := []any{}
		for _, t := range s.state.teams {
			if t.personal == nil {
				list = append(list, map[string]any{
					"schemas": []string{"urn:ietf:params:scim:schemas:core:2.0:Group"},
					"id":      encodeID("Entity:%d", t.number), "displayName": t.name,
				})
			}
		}
		writeSCIM(w, http.StatusOK, scimList(list))
	})
}

func (u *user) scim() map[string]any {
	return map[string]any{
		"schemas": []string{"urn:ietf:params:scim:schemas:core:2.0:User"},
		"id":      encodeID("User:%d", u.number), "userName": u.username, "active": !u.deleted,
		"emails": []map[string]any{{"value": u.email, "primary": true}},
	}
}

func scimList(list []any) map[string]any {
	return map[string]any{
		"schemas":      []string{"urn:ietf:params:scim:api:messages:2.0:ListResponse"},
		"totalResults": len(list), "startIndex": 1, "itemsPerPage": len(list), "Resources": list,
	}
}

func writeSCIM(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/scim+json")
	b, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.WriteHeader(status)
	w.Write(b)
}

// serveAuditLogs answers one JSON object a line, made from the requests of the record.
func (s *Server) serveAuditLogs(w http.ResponseWriter, r *http.Request) {
	s.asAdmin(w, r, func() {
		w.Header().Set("Content-Type", "application/json")
		for _, request := range s.Requests(func(r Request) bool { return r.GraphQL("upsertModel") }) {
			json.NewEncoder(w).Encode(map[string]any{
				"timestamp": request.Time.UTC(), "action": "project:update", "target": strings.TrimPrefix(request.Path, "/"),
			})
		}
	})
}
