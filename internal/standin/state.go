package standin

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// user is a person or a service account.
type user struct {
	number   int
	username string
	email    string
	name     string
	admin    bool
	// team is the parent team of a service account; nil for a person.
	team    *team
	service bool
	keys    []*apiKey
	deleted bool
}

type apiKey struct {
	number      int
	secret      string
	description string
	owner       *user
}

// team is an entity that owns projects; a personal entity is a team of one.
type team struct {
	number   int
	name     string
	personal *user
	members  []*member
}

type member struct {
	number  int
	user    *user
	role    string // admin, member, viewer
	pending string // the e-mail address of an invited stranger
}

func (t *team) member(u *user) *member {
	for _, m := range t.members {
		if u != nil && m.user == u {
			return m
		}
	}
	return nil
}

type project struct {
	number      int
	entity      *team
	name        string
	access      string
	description string
	views       string
	owner       *user
	invited     []*user
	created     time.Time
	runs        []*run
	sweeps      []*sweep
	collections []*collection
	reports     []*report
	deleted     bool
}

func (p *project) run(name string) *run {
	for _, r := range p.runs {
		if r.name == name {
			return r
		}
	}
	return nil
}

func (p *project) sweep(name string) *sweep {
	for _, s := range p.sweeps {
		if s.name == name {
			return s
		}
	}
	return nil
}

func (p *project) collection(name string) *collection {
	for _, c := range p.collections {
		if c.name == name && !c.deleted {
			return c
		}
	}
	return nil
}

// run is one experiment and everything it logged.
type run struct {
	number      int
	project     *project
	name        string
	displayName string
	description string
	notes       string
	group       string
	jobType     string
	commit      string
	host        string
	program     string
	state       string
	tags        []string
	config      map[string]any
	summary     string
	history     []string // JSON lines
	events      []string
	logs        []string
	exitCode    *int
	// user is who the run belongs to; actor is the service account that logged it for user.
	user, actor *user
	sweep       *sweep
	agent       *agent
	created     time.Time
	heartbeat   time.Time
	stopped     bool
	files       []*file
	used        []*artifact
	logged      []*artifact
}

// id is the node id that the SDK builds and reads itself.
func (r *run) id() string {
	return encodeID("Run:v1:%s:%s:%s", r.name, r.project.name, r.project.entity.name)
}

func (r *run) file(name string) *file {
	for _, f := range r.files {
		if f.name == name {
			return f
		}
	}
	return nil
}

// file is a run's file. Its bytes are a blob.
type file struct {
	run     *run
	name    string
	updated time.Time
}

func (f *file) blob() string {
	return strings.Join([]string{"runs", f.run.project.entity.name, f.run.project.name, f.run.name, f.name}, "/")
}

type sweep struct {
	number      int
	project     *project
	name        string
	displayName string
	description string
	state       string
	config      string // YAML as the client sent it
	controller  string
	scheduler   string
	owner       *user
	created     time.Time
	updated     time.Time
	agents      []*agent
	runs        []*run
	search      search
}

type agent struct {
	number    int
	sweep     *sweep
	name      string
	host      string
	created   time.Time
	heartbeat time.Time
	runs      []*run
}

type report struct {
	number      int
	project     *project
	kind        string
	name        string
	displayName string
	description string
	spec        string
	owner       *user
	created     time.Time
	updated     time.Time
}

// collection holds the versions of an artifact: a sequence those that were logged under its
// name, a portfolio those that were linked to it.
type collection struct {
	number      int
	project     *project
	portfolio   bool
	name        string
	kind        string // artifact type
	description string
	tags        []string
	created     time.Time
	updated     time.Time
	versions    []*membership
	deleted     bool
}

func (c *collection) typename() string {
	if c.portfolio {
		return "ArtifactPortfolio"
	}
	return "ArtifactSequence"
}

// version finds a membership by alias, by vN, or by digest.
func (c *collection) version(alias string) *membership {
	for _, m := range slices.Backward(c.versions) {
		if m.artifact.state != committed {
			continue
		}
		if slices.Contains(m.aliases, alias) || alias == fmt.Sprintf("v%d", m.index) || alias == m.artifact.digest {
			return m
		}
	}
	return nil
}

// membership is the place of an artifact in a collection.
type membership struct {
	number     int
	collection *collection
	artifact   *artifact
	index      int
	aliases    []string
	created    time.Time
}

const (
	pending   = "PENDING"
	committed = "COMMITTED"
	deleted   = "DELETED"
)

type artifact struct {
	number      int
	sequence    *collection
	state       string
	digest      string
	description string
	metadata    string
	tags        []string
	ttl         any
	// wanted are the aliases to give when the artifact is committed.
	wanted    []string
	index     int
	historyAt any
	creator   *run
	owner     *user
	usedBy    []*run
	manifests []*manifest
	files     []*artifactFile
	created   time.Time
	updated   time.Time
}

func (a *artifact) id() string { return encodeID("Artifact:%d", a.number) }

// manifest returns the newest manifest that the artifact's readers shall see.
func (a *artifact) manifest() *manifest {
	if len(a.manifests) == 0 {
		return nil
	}
	return a.manifests[len(a.manifests)-1]
}

func (a *artifact) file(path string) *artifactFile {
	for _, f := range a.files {
		if f.path == path {
			return f
		}
	}
	return nil
}

type manifest struct {
	number   int
	artifact *artifact
	name     string
	digest   string
	kind     string
}

func (m *manifest) blob() string { return fmt.Sprintf("manifests/%d/%s", m.number, m.name) }

type artifactFile struct {
	artifact *artifact
	path     string
	md5      string // base64
	mimetype string
	// ref is where the content is when the artifact only points to it.
	ref     string
	size    int
	updated time.Time
}

// bytes is the file's size.
func (f *artifactFile) bytes(s *state) int {
	if content, ok := s.blobs[f.blob()]; ok {
		return len(content)
	}
	return f.size
}

// blob is named by content within the entity, as the server stores layout V1 and V2.
func (f *artifactFile) blob() string {
	return artifactBlob(f.artifact.sequence.project.entity.name, f.md5)
}

func artifactBlob(entity, md5 string) string { return "artifacts/" + entity + "/" + hexOf(md5) }

// state is everything the stand-in remembers. Server.mu guards it.
type state struct {
	last     int
	users    []*user
	teams    map[string]*team
	projects []*project
	// numbered finds things by the number in their node id.
	numbered map[int]any
	clients  map[string]*artifact // by client id
	blobs    map[string][]byte
	stored   int64
}

func newState() *state {
	return &state{teams: map[string]*team{}, numbered: map[int]any{}, clients: map[string]*artifact{}, blobs: map[string][]byte{}}
}

// number gives v the next number and remembers it.
func (s *state) number(v any) int {
	s.last++
	s.numbered[s.last] = v
	return s.last
}

func encodeID(format string, v ...any) string {
	return base64.StdEncoding.EncodeToString(fmt.Appendf(nil, format, v...))
}

// find returns the thing of type T that a node id names.
func find[T any](s *state, id string) (T, bool) {
	var none T
	raw, err := base64.StdEncoding.DecodeString(id)
	if err != nil {
		return none, false
	}
	_, tail, _ := strings.Cut(string(raw), ":")
	var number int
	if _, err := fmt.Sscanf(tail, "%d", &number); err != nil {
		return none, false
	}
	v, ok := s.numbered[number].(T)
	return v, ok
}

// runByID finds a run by Run:v1:<run>:<project>:<entity>.
func (s *state) runByID(id string) *run {
	raw, err := base64.StdEncoding.DecodeString(id)
	if err != nil {
		return nil
	}
	parts := strings.Split(string(raw), ":")
	if len(parts) != 5 || parts[0] != "Run" || parts[1] != "v1" {
		return nil
	}
	if p := s.project(parts[4], parts[3]); p != nil {
		return p.run(parts[2])
	}
	return nil
}

func (s *state) user(name string) *user {
	for _, u := range s.users {
		if !u.deleted && name != "" && (u.username == name || strings.EqualFold(u.email, name)) {
			return u
		}
	}
	return nil
}

// addUser makes a person with a personal entity, or a service account of team.
func (s *state) addUser(u user) *user {
	added := &u
	added.name = cmp.Or(u.name, u.username)
	added.number = s.number(added)
	s.users = append(s.users, added)
	if !u.service && s.teams[u.username] == nil {
		t := s.addTeam(u.username)
		t.personal = added
		s.join(t, added, "admin")
	}
	return added
}

func (s *state) addTeam(name string) *team {
	t := &team{name: name}
	t.number = s.number(t)
	s.teams[name] = t
	return t
}

func (s *state) join(t *team, u *user, role string) *member {
	if m := t.member(u); m != nil {
		m.role = role
		return m
	}
	m := &member{user: u, role: role}
	m.number = s.number(m)
	t.members = append(t.members, m)
	return m
}

func (s *state) addKey(owner *user, secret, description string) *apiKey {
	k := &apiKey{secret: secret, description: description, owner: owner}
	k.number = s.number(k)
	owner.keys = append(owner.keys, k)
	return k
}

func (s *state) project(entity, name string) *project {
	for _, p := range s.projects {
		if !p.deleted && p.name == name && p.entity.name == entity {
			return p
		}
	}
	return nil
}

func (s *state) addProject(t *team, name, access string, owner *user, now time.Time) *project {
	p := &project{entity: t, name: name, access: cmp.Or(access, "PRIVATE"), owner: owner, created: now}
	p.number = s.number(p)
	s.projects = append(s.projects, p)
	return p
}

// teamsOf lists the teams that u is a member of, the personal entity last.
func (s *state) teamsOf(u *user) []*team {
	var out []*team
	for _, t := range slices.SortedFunc(maps.Values(s.teams), func(a, b *team) int { return cmp.Compare(a.number, b.number) }) {
		if t.member(u) != nil && t.personal == nil {
			out = append(out, t)
		}
	}
	return out
}

// mergeConfig takes over a config as the SDK sends it: {"key":{"value":...,"desc":...}}.
func (r *run) mergeConfig(text string) error {
	var config map[string]any
	if err := json.Unmarshal([]byte(text), &config); err != nil {
		return fmt.Errorf("config is not a JSON object: %w", err)
	}
	r.config = config
	return nil
}
