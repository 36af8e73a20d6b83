package wandb

import (
	"encoding/json"
	"errors"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// The reasons for which a GraphQL request is refused before it is judged.
const (
	ReasonBatch              iam.Reason = "batch"
	ReasonDuplicateMember    iam.Reason = "duplicate_member"
	ReasonMalformedJSON      iam.Reason = "malformed_json"
	ReasonMalformedDocument  iam.Reason = "malformed_document"
	ReasonAmbiguousOperation iam.Reason = "ambiguous_operation"
	ReasonSubscription       iam.Reason = "subscription"
	ReasonPersistedQuery     iam.Reason = "persisted_query"
	ReasonTooDeep            iam.Reason = "too_deep"
	ReasonTooManyTokens      iam.Reason = "too_many_tokens"
	ReasonInvalidArgument    iam.Reason = "invalid_argument"
	ReasonNoDefaultEntity    iam.Reason = "no_default_entity"
	ReasonUnfilterableList   iam.Reason = "unfilterable_list"
)

// ReaderConfig bounds what a Reader takes and keeps. Its zero value is right for production.
type ReaderConfig struct {
	// PlanBytes bounds the memory of the documents that were read before; default 32 MiB.
	PlanBytes int64
	// MaxDocumentBytes bounds a document's text; default 1 MiB.
	MaxDocumentBytes int
	// MaxTokens bounds a document's tokens; default 50 000.
	MaxTokens int
	// MaxDepth bounds the nesting of JSON, selections and values; default 64.
	MaxDepth int
	// MaxFields bounds the fields of a document whose fragments are spread; default 20 000.
	MaxFields int
}

// Reader reads GraphQL requests. It is safe for concurrent use.
type Reader struct{}

// NewReader returns a Reader.
func NewReader(ReaderConfig) (*Reader, error) { return &Reader{}, nil }

// Read reads the body of a POST to /graphql: one JSON object with a document and its variables.
// Call keeps body and hands it out again; the caller must not change it while the Call lives.
// Errors are of iam.KindInvalid or iam.KindTooLarge, with one of the reasons above.
func (r *Reader) Read(body []byte) (*Call, error) { return nil, errNotYet }

var errNotYet = errors.New("not yet")

// Call is one GraphQL request, read.
type Call struct{}

// Name returns the operation's name, "" if it has none. It is for logs: nothing is judged by it.
func (c *Call) Name() string { return "" }

// Mutation reports whether the operation is a mutation.
func (c *Call) Mutation() bool { return false }

// Accesses returns all that the call wants to do: every root field, whatever its alias, in whatever
// fragment, and also where @include or @skip leave it out, and every way out of what the roots name
// (Access.Crossing). defaultEntity stands where a client may leave the entity out; if it is needed
// and empty, the error is of iam.KindDenied with ReasonNoDefaultEntity.
func (c *Call) Accesses(defaultEntity string) ([]Access, error) { return nil, errNotYet }

// Field is a selected field of a root that the gateway answers itself: fragments are spread,
// fields left out by @skip and @include are left out, fields of one response key are merged.
type Field struct {
	// Name is the field's own name.
	Name string
	// ResponseKey is the name under which the answer holds it: the alias, or the name.
	ResponseKey string
	// Type is the condition of the innermost fragment that the field stands in; "" if none.
	Type string
	// Args are the arguments with variables and defaults put in: nil, bool, json.Number, string,
	// []any or map[string]any. An argument whose variable is not given is absent.
	Args map[string]any
	// Fields are the fields selected below it.
	Fields []Field
}

// Root is a root field of the operation.
type Root = Field

// Roots returns the root fields in the order in which they are answered.
func (c *Call) Roots() []Root { return nil }

// BodyOptions says what to change in a request before it goes upstream.
type BodyOptions struct {
	// DefaultEntity is filled in where the client left the entity out.
	DefaultEntity string
	// Drop tells the root fields that the gateway answers itself; nil drops none.
	Drop func(Root) bool
}

// Body returns the request that goes upstream: the bytes that came, if nothing has to change, else
// a new body that says what was judged. It is nil if no root field is left.
func (c *Call) Body(o BodyOptions) ([]byte, error) { return nil, errNotYet }

// AnswerOptions says what to learn from an answer and what to change in it.
type AnswerOptions struct {
	// Own holds the values of the root fields that were dropped from the request, by response key.
	Own map[string]json.RawMessage
	// Keep tells whether a list may show a project; nil keeps everything. Entity is "" if the list
	// does not tell it.
	Keep func(entity, project string) bool
	// Ticket returns the value of the header X-Wandb-Gateway-Ticket for uploads to these URLs; ok
	// is false if they need none. nil adds no tickets.
	Ticket func(urls []string) (header string, ok bool)
	// Learn asks for what the answer tells about projects and ids.
	Learn bool
}

// WantsAnswer reports whether Answer would look at the answer; if not, it can stream through.
func (c *Call) WantsAnswer(o AnswerOptions) bool { return false }

// Answer changes and learns from an upstream's answer with status 200. What it does not change
// survives byte for byte. An answer that is no JSON object is an error of iam.KindUnavailable.
func (c *Call) Answer(body []byte, o AnswerOptions) (out []byte, learned []Learned, err error) {
	return nil, nil, errNotYet
}

// EncodeAnswer builds the answer of a request whose root fields were all answered by the gateway.
// Order names the response keys.
func EncodeAnswer(own map[string]json.RawMessage, order []string) []byte { return nil }

// Learned is something an answer told: ProjectUpserted or Placed.
type Learned interface{ learned() }

// ProjectUpserted says that a project exists now, or that its visibility was set.
type ProjectUpserted struct {
	Entity, Project string
	// Access is the server's Project.access, from the answer or else from the request; "" if
	// neither tells it.
	Access string
	// Inserted is true when the request made the project.
	Inserted bool
}

// Placed says in which project an opaque id lies.
type Placed struct {
	ID              string
	IDType          IDType
	Entity, Project string
}

func (ProjectUpserted) learned() {}
func (Placed) learned()          {}
