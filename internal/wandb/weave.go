package wandb

import (
	"mime"
	"net/http"
	"net/url"
	"strings"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// The reasons for which a Weave request is refused before it is judged. Malformed bodies have
// ReasonMalformedJSON, ReasonDuplicateMember or ReasonTooDeep.
const (
	ReasonMissingProject       iam.Reason = "missing_project"
	ReasonMalformedProject     iam.Reason = "malformed_project"
	ReasonConflictingProjects  iam.Reason = "conflicting_projects"
	ReasonTooManyProjects      iam.Reason = "too_many_projects"
	ReasonMalformedReference   iam.Reason = "malformed_reference"
	ReasonMalformedForm        iam.Reason = "malformed_form"
	ReasonMalformedExport      iam.Reason = "malformed_export"
	ReasonUnsupportedMediaType iam.Reason = "unsupported_media_type" // 415
	ReasonUnsupportedEncoding  iam.Reason = "unsupported_content_encoding"
	ReasonBodyTooLarge         iam.Reason = "body_too_large"
)

// MaxWeaveBodyBytes bounds a Weave body, also after it is decompressed. Clients cut their batches at
// 31 MiB.
const MaxWeaveBodyBytes = 32 << 20

// maxWeaveAccesses bounds what one request may touch. The server refuses more than 1000 references
// in one request; they lie in a handful of projects.
const maxWeaveAccesses = 128

// WeaveRequest is a request to the Weave trace server.
type WeaveRequest struct {
	Method string
	// Endpoint is Route.WeaveEndpoint: the path behind the prefix, escaped as it came.
	Endpoint    string
	ContentType string
	// Query comes from url.ParseQuery without an error: what it drops, another parser may keep.
	Query  url.Values
	Header http.Header
	// Body is the whole body if WeaveNeedsBody, as it came on the wire.
	Body []byte
}

// WeaveNeedsBody reports whether ReadWeave must see the body to tell what the request would touch.
func WeaveNeedsBody(method, endpoint string) bool {
	row := findWeave(method, endpoint)
	if row == nil {
		return false
	}
	return row.body != nil || row.place == weaveForm || row.place == weaveOTLP
}

// ReadWeave returns all that a Weave request wants to do: what the endpoint does in the project
// that the request names, for every element of a batch, and a read of every other project that a
// reference in it points at (weave:///entity/project/...), because the server follows references.
// An endpoint outside the table is Unplaced. Errors are of iam.KindInvalid or iam.KindTooLarge, with
// one of the reasons above.
func ReadWeave(r WeaveRequest) ([]Access, error) {
	if len(r.Body) > MaxWeaveBodyBytes {
		return nil, weaveTooLarge()
	}
	found := weaveFound{}
	if _, entity, project, ok := cutWeaveProject(r.Endpoint); ok {
		p, err := pathProject(entity, project)
		if err != nil {
			return nil, err
		}
		found.anchor(p)
	}
	row := findWeave(r.Method, r.Endpoint)
	if row == nil {
		return found.unknownEndpoint(r.Method), nil
	}
	if err := found.read(row, r); err != nil {
		return nil, err
	}
	return found.accesses(row)
}

// read looks at the parts of a request that may name projects.
func (f *weaveFound) read(row *weaveEndpoint, r WeaveRequest) error {
	if err := f.readQuery(r.Query, row.place == weaveQuery); err != nil {
		return err
	}
	if err := checkWeaveEncoding(row, r.Header); err != nil {
		return err
	}
	switch row.place {
	case weaveServer:
		return nil
	case weaveForm:
		return f.readForm(r.ContentType, r.Body)
	case weaveOTLP:
		return f.readExport(r)
	case weaveBody, weavePath, weaveQuery:
		if row.body == nil || row.place == weavePath && len(r.Body) == 0 {
			return nil // some endpoints are told everything by their path
		}
		if err := checkWeaveJSONType(r.ContentType); err != nil {
			return err
		}
		return f.readJSON(r.Body, row.body)
	default:
		return weaveInvalid(ReasonMissingProject, "the gateway cannot tell which project this request names")
	}
}

// readQuery takes the project from the query string, where it must stand when required, and must
// not disagree otherwise. It reads references in all parameters.
func (f *weaveFound) readQuery(query url.Values, required bool) error {
	for name, values := range query {
		if name != memberProjectID && strings.EqualFold(name, memberProjectID) {
			return weaveInvalid(ReasonMalformedProject, "the query parameter must be spelled %s", memberProjectID)
		}
		for _, value := range values {
			// Lists of references come separated by commas.
			for item := range strings.SplitSeq(value, ",") {
				if err := f.reference(item); err != nil {
					return err
				}
			}
		}
	}
	switch values := query[memberProjectID]; {
	case len(values) > 1:
		return weaveInvalid(ReasonConflictingProjects, "the query names %s more than once", memberProjectID)
	case len(values) == 1:
		return f.projectID(values[0], shapeAnchorID)
	case required:
		return missingProject()
	}
	return nil
}

// checkWeaveEncoding refuses a compressed body where it is judged as it came. Exports are
// decompressed by readExport.
func checkWeaveEncoding(row *weaveEndpoint, h http.Header) error {
	if row.place == weaveOTLP {
		return nil
	}
	for _, encoding := range h.Values("Content-Encoding") {
		if !strings.EqualFold(encoding, "identity") {
			return weaveInvalid(ReasonUnsupportedEncoding, "send the body without Content-Encoding")
		}
	}
	return nil
}

// checkWeaveJSONType lets JSON pass as JSON, and also bodies without a type: clients up to weave 0.52
// send their batches so, and the server reads them as JSON.
func checkWeaveJSONType(contentType string) error {
	if contentType == "application/json" || contentType == "" {
		return nil
	}
	media, params, err := mime.ParseMediaType(contentType)
	charset, ok := params["charset"]
	if err != nil || media != "application/json" || ok && !strings.EqualFold(charset, "utf-8") {
		return weaveInvalid(ReasonUnsupportedMediaType, "send the body as application/json")
	}
	return nil
}
