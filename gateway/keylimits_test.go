package gateway

import (
	"net/http"
	"strings"
	"testing"

	"github.com/wandb-gateway/wandb-gateway/authz"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// limited adds keys of alice's with limits to the world.
func limited(s *scene) *scene {
	for key, l := range map[string]iam.KeyLimits{
		"reading-key": {ReadOnly: true},
		"vision-key":  {Entity: vision.ID, EntityName: vision.Name},
		"project-key": {Entity: vision.ID, EntityName: vision.Name, Project: "team"},
		"ending-key":  {Expires: s.config.Tickets.now().AddDate(1, 0, 0)},
	} {
		p := *s.world.principals["alice-key"]
		p.Limits = &l
		s.world.principals[key] = &p
	}
	return s
}

// TestLimitsOfKeysWhereNothingIsJudged: pages, unknown routes, WebSockets and mutations that touch nothing pass
// by whoever is signed in, and not by a key that is for less.
func TestLimitsOfKeysWhereNothingIsJudged(t *testing.T) {
	webSocket := http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}}
	for _, tt := range []struct {
		name, method, target string
		header               http.Header
		reasons              map[string]iam.Reason
	}{
		{"page", "GET", "/vision/team", nil, map[string]iam.Reason{"vision-key": authz.ReasonKeyScope, "project-key": authz.ReasonKeyScope, "reading-key": "", "ending-key": ""}},
		{"page's head", "HEAD", "/vision/team", nil, map[string]iam.Reason{"vision-key": authz.ReasonKeyScope, "reading-key": ""}},
		{"unknown route", "POST", "/api/thing", nil, map[string]iam.Reason{"vision-key": authz.ReasonKeyScope, "project-key": authz.ReasonKeyScope, "reading-key": authz.ReasonKeyReadOnly, "ending-key": ""}},
		{"what is below a known prefix and too short", "GET", "/files/vision", nil, map[string]iam.Reason{"vision-key": authz.ReasonKeyScope, "reading-key": authz.ReasonKeyReadOnly}},
		{"WebSocket", "GET", "/live", webSocket, map[string]iam.Reason{"vision-key": ReasonKeyWebSocket, "project-key": ReasonKeyWebSocket, "reading-key": ReasonKeyWebSocket, "ending-key": ReasonKeyWebSocket}},
		{"WebSocket at a file", "GET", "/files/vision/team/r1/x", webSocket, map[string]iam.Reason{"project-key": ReasonKeyWebSocket}},
	} {
		for key, reason := range tt.reasons {
			t.Run(tt.name+", "+key, func(t *testing.T) {
				s := limited(newScene(t))
				s.config.ForwardUnknown = true
				s.forwarded(s.do(tt.method, tt.target, "alice-key", "", tt.header))
				w := s.do(tt.method, tt.target, key, "", tt.header)
				if reason == "" {
					s.forwarded(w)
					return
				}
				if tt.method == "HEAD" {
					if w.Code != 403 || s.upstream.request != nil {
						t.Errorf("status %d, forwarded %t", w.Code, s.upstream.request != nil)
					}
				} else {
					s.refused(w, 403, reason)
				}
				if s.event.Effect != authz.Deny || s.event.Reason != reason {
					t.Errorf("told as %v %s", s.event.Effect, s.event.Reason)
				}

				s.config.Shadow = true
				s.forwarded(s.do(tt.method, tt.target, key, "", tt.header))
				if !s.event.Shadowed || s.event.Reason != reason {
					t.Errorf("in shadow told as %t %s", s.event.Shadowed, s.event.Reason)
				}
			})
		}
	}
}

// TestReadingKeyAndMutations: a mutation writes, also where its arguments come to nothing that is judged as writing.
func TestReadingKeyAndMutations(t *testing.T) {
	for name, query := range map[string]string{
		"names":            upsertBucket,
		"nothing to write": `mutation { addAliases(input: {artifactID: "team-1", aliases: []}) { success } }`,
		"__typename":       `mutation { __typename }`,
		"left out":         `mutation { __typename ... @include(if: false) { stopRun(input: {id: "UnVuOnYxOnIxOnRlYW06dmlzaW9u"}) { success } } }`,
	} {
		s := limited(newScene(t))
		s.refused(s.graphQL("reading-key", query, `{"e":"vision","p":"team"}`), 403, authz.ReasonKeyReadOnly)
		if t.Failed() {
			t.Fatal(name)
		}
	}
	s := limited(newScene(t))
	s.forwarded(s.graphQL("reading-key", `query Mutation { project(entityName: "vision", name: "team") { name } }`, `{}`))
}

// TestUploadURLsWithAReadingKey: a query that makes upload URLs writes.
func TestUploadURLsWithAReadingKey(t *testing.T) {
	s := limited(newScene(t))
	s.refused(s.graphQL("reading-key", `query RunUploadUrls { model(name: "team", entityName: "vision") { bucket(name: "r1") { files(names: ["x"]) { uploadHeaders edges { node { uploadUrl } } } } } }`, `{}`), 403, authz.ReasonKeyReadOnly)
}

// TestViewerOfAKeyThatIsForLess is no administrator.
func TestViewerOfAKeyThatIsForLess(t *testing.T) {
	s := limited(newScene(t))
	for _, key := range []string{"alice-key", "vision-key", "project-key", "reading-key", "ending-key"} {
		s.world.principals[key].Role = iam.OrganizationAdmin
		want := key == "alice-key" || key == "ending-key"
		if w := s.graphQL(key, `{ viewer { admin } }`, `{}`); strings.Contains(w.Body.String(), `"admin":true`) != want {
			t.Errorf("%s: %s", key, w.Body)
		}
	}
}
