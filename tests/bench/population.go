package main

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
)

// A population fills the gateway's directory: teams of 20 people, each person with 10 API keys, and
// projects in each team that only its members see.
type population struct {
	keys int
	// projects of each team; 0 for projectsPerTeam.
	projects int
}

const (
	organization    = "bench"
	keysEach        = 10
	teamSize        = 20
	projectsPerTeam = 10
)

// caller is a credential and something its owner may read and write.
type caller struct {
	credential           string // the whole header line
	user                 int
	entity, project, run string
}

// caller returns the holder of key i, 0 <= i < keys.
func (p population) caller(i int) caller {
	user := i / keysEach
	return caller{
		credential: basic(key(i)),
		user:       user,
		entity:     teamName(user / teamSize),
		project:    projectName(i % p.perTeam()),
		run:        fmt.Sprintf("run%05d", i),
	}
}

// callers returns n callers, spread evenly over the keys.
func (p population) callers(n int) []caller {
	n = min(n, p.keys)
	callers := make([]caller, n)
	for i := range callers {
		callers[i] = p.caller(i * p.keys / n)
	}
	return callers
}

// perTeam is how many projects a team has.
func (p population) perTeam() int {
	if p.projects == 0 {
		return projectsPerTeam
	}
	return p.projects
}

// stranger returns a caller, who is no admin, with the project of another team.
func (p population) stranger() caller {
	c := p.caller(keysEach)
	c.entity = p.caller(p.keys - 1).entity
	return c
}

// key makes a key in the form of W&B's own, 40 hex digits.
func key(i int) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "bench key %d", i))
	return hex.EncodeToString(sum[:20])
}

// basic is how clients send what is in WANDB_API_KEY: an API key, or an assertion (sdk-wire 1.1).
func basic(key string) string {
	return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("api:"+key))
}

// bearer is how clients send an access token (sdk-wire 1.3).
func bearer(token string) string { return "Authorization: Bearer " + token }

func userName(i int) string    { return fmt.Sprintf("user-%04d", i) }
func address(i int) string     { return userName(i) + "@bench.test" }
func teamName(i int) string    { return fmt.Sprintf("team-%03d", i) }
func projectName(i int) string { return fmt.Sprintf("project-%03d", i) }

// rows are a file as `iam import` reads it (design section 7).
type rows struct {
	Organization string       `json:"organization"`
	Users        []userRow    `json:"users,omitempty"`
	Teams        []teamRow    `json:"teams,omitempty"`
	Projects     []projectRow `json:"projects,omitempty"`
	APIKeys      []keyRow     `json:"api_keys,omitempty"`
}

type userRow struct {
	Username string `json:"username"`
	Email    string `json:"email"`
	Name     string `json:"name"`
	Role     string `json:"role"`
}

type memberRow struct {
	User string `json:"user"`
	Role string `json:"role"`
}

type teamRow struct {
	Name    string      `json:"name"`
	Members []memberRow `json:"members"`
}

type projectRow struct {
	Entity     string `json:"entity"`
	Name       string `json:"name"`
	Visibility string `json:"visibility"`
}

type keyRow struct {
	Owner string `json:"owner"`
	Name  string `json:"name"`
	Key   string `json:"key"`
}

// importFile is the whole population.
func (p population) importFile() ([]byte, error) {
	all := p.people(0, p.users())
	all.APIKeys = p.keysOf(0, p.users()).APIKeys
	return json.Marshal(all)
}

// people are the users from first to before last, with their teams and projects. first begins a team.
func (p population) people(first, last int) rows {
	r := rows{Organization: organization}
	for i := first; i < last; i++ {
		name, role := userName(i), "member"
		if i == 0 {
			role = "admin" // an organization keeps one
		}
		r.Users = append(r.Users, userRow{name, address(i), name, role})
		if i%teamSize == 0 {
			t := teamName(i / teamSize)
			r.Teams = append(r.Teams, teamRow{Name: t})
			for j := range p.perTeam() {
				r.Projects = append(r.Projects, projectRow{t, projectName(j), "team"})
			}
		}
		t := &r.Teams[len(r.Teams)-1]
		t.Members = append(t.Members, memberRow{name, "member"})
	}
	return r
}

// keysOf are the API keys of these users.
func (p population) keysOf(first, last int) rows {
	r := rows{Organization: organization}
	for i := first * keysEach; i < min(last*keysEach, p.keys); i++ {
		r.APIKeys = append(r.APIKeys, keyRow{userName(i / keysEach), fmt.Sprintf("key-%d", i%keysEach), key(i)})
	}
	return r
}

// users is how many people hold the keys.
func (p population) users() int { return (p.keys + keysEach - 1) / keysEach }

// peopleEach is how many people one import brings, and their keys another: far below store.MaxWrites.
const peopleEach = 1000

// parts gives the files of a large population one after the other to who imports them: all that part says
// of the people from first to before last.
func (p population) parts(what string, progress io.Writer, part func(first, last int) rows, take func(file []byte) error) error {
	for first := 0; first < p.users(); first += peopleEach {
		file, err := json.Marshal(part(first, min(first+peopleEach, p.users())))
		if err != nil {
			return err
		}
		if err := take(file); err != nil {
			return err
		}
		if done := first + peopleEach; done%(20*peopleEach) == 0 {
			fmt.Fprintf(progress, "%d of %d %s\n", done, p.users(), what)
		}
	}
	return nil
}
