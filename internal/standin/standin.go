// Package standin is a small W&B server in memory: enough of it that the real SDK, old and new,
// can log runs, files, artifacts and sweeps and read them back, and that `wandb-gateway demo` and
// the tests have something to stand in front of. It owns what a W&B deployment would own: accounts
// and their keys, teams, projects with their visibility, and what was logged. The shapes of its
// answers follow sdk-wire sections 7 and 8. It is no example of a server: one lock guards
// everything and nothing is kept on disk.
//
// Tests can read every request it received (Requests), make it misbehave (Fail), and let it trust
// the gateway's headers instead of checking keys (Config.Trust).
package standin

import (
	"crypto/rand"
	"net/http"
	"sync"
	"time"
)

// Config says what the stand-in knows at start. The zero value is a server without accounts.
type Config struct {
	// Organization is the name of the one organization; default "acme".
	Organization string `json:"organization"`
	// Trust switches authentication and access checks off: who a request is from is read from
	// the gateway's headers, and entities come into being when they are named.
	Trust    bool      `json:"trust"`
	Users    []User    `json:"users"`
	Teams    []Team    `json:"teams"`
	Projects []Project `json:"projects"`
	// Assertions maps what may be sent to the server's own /oidc/token to a user name.
	Assertions map[string]string `json:"assertions"`
	// StorageURL is where clients upload to and download from; empty means the host that the
	// request came to, as servers without a bucket of their own do (sdk-wire 3.3).
	StorageURL string `json:"storage_url"`
	// Features are the names that serverInfo announces; nil means what this stand-in can do.
	Features []string `json:"features"`
	// MaxStored bounds the bytes of all uploads together; default 1 GiB.
	MaxStored int64 `json:"max_stored"`
}

// User is a person with an account.
type User struct {
	Username string   `json:"username"`
	Email    string   `json:"email"`
	Name     string   `json:"name"`
	Password string   `json:"password"` // for the server's own sign-in page
	Keys     []string `json:"keys"`
	Admin    bool     `json:"admin"`
}

// Team is an entity with its members.
type Team struct {
	Name            string           `json:"name"`
	Members         []Member         `json:"members"`
	ServiceAccounts []ServiceAccount `json:"service_accounts"`
}

// Member is a user's role in a team: admin, member or viewer; empty is member.
type Member struct {
	User string `json:"user"`
	Role string `json:"role"`
}

// ServiceAccount is a team's non-human account.
type ServiceAccount struct {
	Name string   `json:"name"`
	Keys []string `json:"keys"`
}

// Project is a project with its access: USER_WRITE, USER_READ, PRIVATE or RESTRICTED; empty is
// PRIVATE.
type Project struct {
	Entity  string   `json:"entity"`
	Name    string   `json:"name"`
	Access  string   `json:"access"`
	Owner   string   `json:"owner"`
	Members []string `json:"members"` // who is invited to a RESTRICTED one
}

// Server is the stand-in. It is an http.Handler and safe for concurrent use.
type Server struct {
	config    Config
	mux       *http.ServeMux
	passwords map[string]string // user name to password
	signature [32]byte          // signs upload and download URLs
	recorder  recorder
	faults    faults

	mu       sync.Mutex
	state    *state
	sessions map[string]*user // cookie value to user
	tokens   map[string]*user // bearer token to user
}

// New returns a server that knows what config says. An account, team or project that refers to
// something unknown is an error.
func New(config Config) (*Server, error) {
	if config.Organization == "" {
		config.Organization = "acme"
	}
	if config.MaxStored == 0 {
		config.MaxStored = 1 << 30
	}
	if config.Features == nil {
		config.Features = ownFeatures
	}
	s := &Server{
		config: config, state: newState(), passwords: map[string]string{},
		sessions: map[string]*user{}, tokens: map[string]*user{},
	}
	rand.Read(s.signature[:])
	if err := s.seed(); err != nil {
		return nil, err
	}
	s.mux = s.routes()
	return s, nil
}

func (s *Server) routes() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /graphql", s.serveGraphQL)
	mux.HandleFunc("POST /files/{entity}/{project}/{run}/file_stream", s.serveFileStream)
	mux.HandleFunc("GET /files/{entity}/{project}/{run}/{name...}", s.serveRunFile)
	mux.HandleFunc("GET /artifacts/{entity}/{hash}", s.serveArtifactV1)
	mux.HandleFunc("GET /artifactsV2/{region}/{entity}/{rest...}", s.serveArtifactV2)
	mux.HandleFunc("GET /storage", s.serveDownload)
	mux.HandleFunc("PUT /storage", s.serveUpload)
	mux.HandleFunc("POST /sdk/otel/", http.NotFound)
	s.websiteRoutes(mux)
	return mux
}

// ServeHTTP records the request, lets a fault answer it if one matches, and serves it otherwise.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	request, body := s.recorder.record(r)
	recorded := &statusWriter{ResponseWriter: w}
	defer func() { s.recorder.done(request, recorded.status) }()
	r.Body = body
	if f := s.faults.match(request); f != nil && f.serve(recorded, r) {
		return
	}
	if r.Method == http.MethodOptions {
		preflight(recorded, r)
		return
	}
	s.mux.ServeHTTP(recorded, r)
}

// statusWriter remembers the status for the record.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// preflight answers a browser's question before it reads a file of another site, which `wandb
// verify` asks too.
func preflight(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Access-Control-Allow-Origin", r.Header.Get("Origin"))
	w.Header().Set("Access-Control-Allow-Methods", "GET, HEAD, POST, PUT")
	w.WriteHeader(http.StatusNoContent)
}

// now is the wall clock; `synctest` moves it.
func now() time.Time { return time.Now().UTC() }
