package main

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
)

// A population fills the gateway's directory: teams of 20 people, each person with 10 API keys, and 10
// projects in each team that only its members see.
type population struct {
	keys int
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
		project:    projectName(i % projectsPerTeam),
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

// importFile writes the population as `iam import` reads it (design section 7).
func (p population) importFile() ([]byte, error) {
	type user struct {
		Username string `json:"username"`
		Email    string `json:"email"`
		Name     string `json:"name"`
		Role     string `json:"role"`
	}
	type member struct {
		User string `json:"user"`
		Role string `json:"role"`
	}
	type team struct {
		Name    string   `json:"name"`
		Members []member `json:"members"`
	}
	type project struct {
		Entity     string `json:"entity"`
		Name       string `json:"name"`
		Visibility string `json:"visibility"`
	}
	type apiKey struct {
		Owner string `json:"owner"`
		Name  string `json:"name"`
		Key   string `json:"key"`
	}
	var file struct {
		Organization string    `json:"organization"`
		Users        []user    `json:"users"`
		Teams        []team    `json:"teams"`
		Projects     []project `json:"projects"`
		APIKeys      []apiKey  `json:"api_keys"`
	}
	file.Organization = organization
	for i := range (p.keys + keysEach - 1) / keysEach {
		name, role := userName(i), "member"
		if i == 0 {
			role = "admin" // an organization keeps one
		}
		file.Users = append(file.Users, user{name, address(i), name, role})
		if i%teamSize == 0 {
			t := teamName(i / teamSize)
			file.Teams = append(file.Teams, team{Name: t})
			for j := range projectsPerTeam {
				file.Projects = append(file.Projects, project{t, projectName(j), "team"})
			}
		}
		t := &file.Teams[len(file.Teams)-1]
		t.Members = append(t.Members, member{name, "member"})
	}
	for i := range p.keys {
		file.APIKeys = append(file.APIKeys, apiKey{userName(i / keysEach), fmt.Sprintf("key-%d", i%keysEach), key(i)})
	}
	return json.Marshal(file)
}
