package wandb

import (
	"encoding/json"
	"errors"
	"strings"

	"github.com/wandb-gateway/wandb-gateway/internal/untrusted"
)

// Home says where what an opaque id names lies. The zero Home is nowhere that the server tells.
type Home struct {
	Entity, Project string
	// Artifact is the id of the artifact that the id stands for, in place of names.
	Artifact string
}

// homeQuestions ask where ids belong, for the sorts of which clients' own questions show how (sdk-wire
// 4.4; view: wandb-workspaces). Each has one root field, aliased to `it`. An artifact belongs to the
// project of its sequence, wherever else it is linked. Nobody is known to be asked by id about sweeps,
// agents, manifests, queues and their items, triggers, files and projects.
var homeQuestions = map[IDType]string{
	IDArtifact:       `query GatewayHome($id: ID!) { it: artifact(id: $id) { artifactSequence { project { name entity { name } } } } }`,
	IDCollection:     `query GatewayHome($id: ID!) { it: artifactCollection(id: $id) { project { name entity { name } } } }`,
	IDView:           `query GatewayHome($id: ID!) { it: view(id: $id) { project { name entityName } } }`,
	IDArtifactClient: `query GatewayHome($id: ID!) { it: clientIDMapping(clientID: $id) { serverID } }`,
}

// HomeQuestion returns the query that asks a server where an id of that sort lies, with the variable
// $id; "" if there is none. ReadHome reads its answer.
func HomeQuestion(t IDType) string { return homeQuestions[t] }

// HomeQuestions are the sorts of ids that a server can be asked about.
func HomeQuestions() []IDType { return []IDType{IDArtifact, IDArtifactClient, IDCollection, IDView} }

// ReadHome reads what stands in the root field `it` of an answer to HomeQuestion. What is not told is
// nowhere; what cannot be read is an error.
func ReadHome(t IDType, it json.RawMessage) (Home, error) {
	type project struct {
		Name       string
		EntityName string
		Entity     *struct{ Name string }
	}
	var read struct {
		ServerID         string
		Project          *project
		ArtifactSequence *struct{ Project *project }
	}
	if err := json.Unmarshal(it, &read); err != nil {
		return Home{}, err
	}
	p := read.Project
	switch t {
	case IDArtifactClient:
		if len(read.ServerID) > maxIDBytes {
			return Home{}, errors.New("an id that is too long")
		}
		return Home{Artifact: read.ServerID}, nil
	case IDArtifact:
		if p = nil; read.ArtifactSequence != nil {
			p = read.ArtifactSequence.Project
		}
	case IDCollection, IDView:
	default:
		return Home{}, nil
	}
	if p == nil {
		return Home{}, nil
	}
	h := Home{Entity: p.EntityName, Project: p.Name}
	if p.Entity != nil {
		h.Entity = p.Entity.Name
	}
	if h.Entity == "" || h.Project == "" {
		return Home{}, nil
	}
	return h, nil
}

// ReadHomeAnswer reads a whole answer to HomeQuestion, as ReadHome does. A server that does not know the
// question, or says that there is nothing, or nothing to be seen, tells nothing; that it failed is an
// error.
func ReadHomeAnswer(t IDType, answer []byte) (Home, error) {
	var read struct {
		Data *struct {
			It json.RawMessage `json:"it"`
		} `json:"data"`
		Errors []struct {
			Message string `json:"message"`
		} `json:"errors"`
	}
	if err := json.Unmarshal(answer, &read); err != nil {
		return Home{}, err
	}
	if read.Data != nil && len(read.Data.It) > 0 && string(read.Data.It) != "null" {
		return ReadHome(t, read.Data.It)
	}
	for _, e := range read.Errors {
		if !tellsNothing(e.Message) {
			return Home{}, errors.New("the server failed: " + untrusted.Quote(e.Message))
		}
	}
	if read.Data == nil && len(read.Errors) == 0 {
		return Home{}, errors.New("neither data nor errors")
	}
	return Home{}, nil
}

// tellsNothing reports whether an error means that there is nothing, or nothing for this caller, or that
// the question is not known: in the words of W&B's server (VIS-19) and of GraphQL's reference.
func tellsNothing(message string) bool {
	message = strings.ToLower(message)
	for _, words := range []string{"cannot query field", "unknown argument", "permission", "not found", "does not exist", "could not find", "forbidden", "access denied"} {
		if strings.Contains(message, words) {
			return true
		}
	}
	return false
}
