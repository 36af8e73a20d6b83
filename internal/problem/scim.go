package problem

import (
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// scimTypes are SCIM's own codes for the reasons that have one (RFC 7644 table 9).
var scimTypes = map[iam.Reason]string{
	"invalid_filter": "invalidFilter",
	"invalid_path":   "invalidPath",
	"invalid_syntax": "invalidSyntax",
	"invalid_value":  "invalidValue",
	"invalid":        "invalidValue",
	"no_target":      "noTarget",
	"mutability":     "mutability",
	"taken":          "uniqueness",
	"too_many":       "tooMany",
}

// SCIMError is a refusal in SCIM's shape, in which the status is a string (RFC 7644 section 3.12, SCIM-11).
type SCIMError struct {
	Schemas  [1]string `json:"schemas"`
	ScimType string    `json:"scimType,omitempty"`
	Detail   string    `json:"detail"`
	Status   string    `json:"status"`
}

// SCIM returns the problem in SCIM's shape.
func (p Problem) SCIM() SCIMError {
	return SCIMError{
		Schemas:  [1]string{"urn:ietf:params:scim:api:messages:2.0:Error"},
		ScimType: scimTypes[p.Reason], Detail: p.Message, Status: strconv.Itoa(p.Status),
	}
}

// WriteSCIM answers with the problem in SCIM's shape.
func (p Problem) WriteSCIM(w http.ResponseWriter) {
	b, err := json.Marshal(p.SCIM())
	if err != nil { // strings always marshal
		b = []byte(`{}`)
	}
	p.header(w.Header(), "application/scim+json", len(b))
	w.WriteHeader(p.Status)
	w.Write(b)
}
