package scim

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/problem"
)

// versionOf names the state of a record: a weak entity tag of all it says.
func versionOf(record any) string {
	text, err := json.Marshal(record)
	if err != nil { // records are made of strings, numbers and times: they always marshal
		return ""
	}
	sum := sha256.Sum256(text)
	return `W/"` + hex.EncodeToString(sum[:10]) + `"`
}

// condition is what a request demands of the record that it changes (RFC 7644 section 3.14).
type condition struct{ match, noneMatch []string }

func readCondition(h http.Header) condition {
	return condition{commas(h.Values("If-Match")), commas(h.Values("If-None-Match"))} // ours hold no commas
}

// check refuses a change of a record that is not as the caller saw it.
func (c condition) check(version string) error {
	if len(c.match) == 0 || has(c.match, version) {
		return nil
	}
	return &iam.Error{Kind: iam.KindConflict, Reason: problem.ReasonPreconditionFailed,
		Message: "somebody changed this since you read it: read it again, and send its new version in If-Match"}
}

// unchanged reports whether the caller has this version already.
func (c condition) unchanged(version string) bool {
	return len(c.noneMatch) > 0 && has(c.noneMatch, version)
}

// has compares weakly: W/"x" and "x" name the same record.
func has(tags []string, version string) bool {
	for _, tag := range tags {
		if tag == "*" || strings.TrimPrefix(tag, "W/") == strings.TrimPrefix(version, "W/") {
			return true
		}
	}
	return false
}
