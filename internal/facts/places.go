package facts

import (
	"context"
	"encoding/json"
	"sync"

	"github.com/wandb-gateway/wandb-gateway/gateway"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/wandb"
)

// places remembers in which project an opaque id lies. It keeps the ids that were used last: two
// maps take turns, and what was not used while one of them filled up is forgotten with the other.
type places struct {
	mu          sync.Mutex
	young, aged map[placeKey]place
}

type (
	placeKey struct {
		t  wandb.IDType
		id string
	}
	place struct{ entity, project string }
)

const (
	placesPerMap = 100_000
	maxIDBytes   = 256 // longer ids are asked for anew each time
)

func newPlaces() *places {
	return &places{young: make(map[placeKey]place), aged: make(map[placeKey]place)}
}

func (s *places) find(t wandb.IDType, id string) (place, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := placeKey{t, id}
	if p, ok := s.young[key]; ok {
		return p, true
	}
	p, ok := s.aged[key]
	if ok {
		s.add(key, p)
	}
	return p, ok
}

func (s *places) put(t wandb.IDType, id string, p place) {
	if len(id) > maxIDBytes {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.add(placeKey{t, id}, p)
}

func (s *places) add(key placeKey, p place) {
	if len(s.young) >= placesPerMap {
		s.young, s.aged = make(map[placeKey]place), s.young
	}
	s.young[key] = p
}

// artifactQuestion asks for the project that an artifact was made in: its sequence's, never that of
// a collection it was linked into later (sdk-wire 4.4).
const artifactQuestion = `query GatewayPlaceArtifact($id: ID!) { artifact(id: $id) { artifactSequence { project { name entity { name } } } } }`

// askPlace asks the upstream where an id lies. Only artifacts have a question whose fields are known
// to exist; every other id that was not learned cannot be placed.
func askPlace(ctx context.Context, who gateway.Caller, t wandb.IDType, id string) (entity, project string, err error) {
	if t != wandb.IDArtifact || who.Ask == nil {
		return "", "", errNoPlace
	}
	body, err := json.Marshal(map[string]any{"query": artifactQuestion, "variables": map[string]string{"id": id}})
	if err != nil {
		return "", "", err
	}
	answer, err := who.Ask(ctx, body)
	if err != nil {
		return "", "", err
	}
	var read struct {
		Data struct {
			Artifact *struct {
				ArtifactSequence *struct {
					Project *struct {
						Name   string
						Entity *struct{ Name string }
					}
				}
			}
		}
	}
	if err := json.Unmarshal(answer, &read); err != nil {
		return "", "", iam.Unavailable("The W&B server behind the gateway gave an answer that cannot be read.", err)
	}
	a := read.Data.Artifact
	if a == nil || a.ArtifactSequence == nil || a.ArtifactSequence.Project == nil || a.ArtifactSequence.Project.Entity == nil {
		return "", "", errNoPlace
	}
	p := a.ArtifactSequence.Project
	return p.Entity.Name, p.Name, nil
}

var errNoPlace = iam.NotFoundf("The id does not tell in which project it lies.")
