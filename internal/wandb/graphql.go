package wandb

import (
	"bytes"
	"cmp"
	"encoding/json"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/untrusted"
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
type Reader struct {
	plans  *planCache
	limits limits
}

// NewReader returns a Reader.
func NewReader(cfg ReaderConfig) (*Reader, error) {
	if cfg.PlanBytes < 0 || cfg.MaxDocumentBytes < 0 || cfg.MaxTokens < 0 || cfg.MaxDepth < 0 || cfg.MaxFields < 0 {
		return nil, iam.Invalidf("the bounds of the GraphQL reader must not be negative")
	}
	l := limits{
		bytes:  cmp.Or(cfg.MaxDocumentBytes, 1<<20),
		tokens: cmp.Or(cfg.MaxTokens, 50_000),
		depth:  cmp.Or(cfg.MaxDepth, 64),
		fields: cmp.Or(cfg.MaxFields, 20_000),
	}
	return &Reader{plans: newPlanCache(cmp.Or(cfg.PlanBytes, 32<<20)), limits: l}, nil
}

// Call is one GraphQL request, read. It belongs to one goroutine.
type Call struct {
	body   []byte
	limits limits
	op     *operation
	// query and operationName are the members of the body as they stand there.
	query, operationName span
	variables            []bodyVariable
	// altered: the body holds members that do not go upstream.
	altered bool

	// What resolve found.
	filled     []filled
	insertions []insertion
	resolved   *resolved
}

// bodyVariable is a member of the body's variables.
type bodyVariable struct{ name, value span }

func (v *bodyVariable) is(body []byte, name string) bool {
	inside := v.name.of(body)
	return string(inside) == name || bytes.IndexByte(inside, '\\') >= 0 && unquote(inside) == name
}

// maxVariables bounds the variables of a call, which are looked up one by one.
const maxVariables = 256

// Read reads the body of a POST to /graphql: one JSON object with a document and its variables.
// Call keeps body and hands it out again; the caller must not change it while the Call lives.
// Errors are of iam.KindInvalid or iam.KindTooLarge, with one of the reasons above.
func (r *Reader) Read(body []byte) (*Call, error) {
	c := &Call{body: body, limits: r.limits}
	if err := c.scan(); err != nil {
		return nil, err
	}
	doc, err := r.document(c.query.of(body))
	if err != nil {
		return nil, err
	}
	c.op, err = doc.choose(c.name())
	if err != nil {
		return nil, err
	}
	return c, nil
}

// document returns the document whose JSON string is quoted, read before or now. The cache's key is
// the string as it came, so that a hit need not even resolve its escapes.
func (r *Reader) document(quoted []byte) (*document, error) {
	if doc, ok := r.plans.get(quoted); ok {
		return doc, nil
	}
	// An escape takes at most six bytes for one.
	if len(quoted) > 6*r.limits.bytes {
		return nil, documentTooLarge(r.limits)
	}
	doc, err := readDocument(unquote(quoted[1:len(quoted)-1]), r.limits)
	if err != nil {
		return nil, err
	}
	r.plans.put(quoted, doc)
	return doc, nil
}

// scan validates the body and finds its members. It knows query, operationName and variables.
// Others do not go upstream, so that no server can find a second document in them; extensions that
// ask for a stored document are refused, since nobody here can tell what it says (threat G07).
func (c *Call) scan() error {
	s := scanner{data: c.body, maxDepth: c.limits.depth}
	s.space()
	switch s.peek() {
	case '{':
	case '[':
		return &iam.Error{Kind: iam.KindInvalid, Reason: ReasonBatch,
			Message: "batches are not accepted: send one GraphQL request per HTTP request"}
	default:
		return s.malformed("it must be a JSON object")
	}
	s.names = make([]memberName, 0, 32)
	var extensions span
	err := s.object(func(name memberName) (err error) {
		from := s.pos
		switch {
		case s.is(name, "query"):
			err = s.value()
			c.query = span{from, s.pos}
		case s.is(name, "operationName"):
			err = s.value()
			c.operationName = span{from, s.pos}
		case s.is(name, "variables"):
			return c.scanVariables(&s)
		case s.is(name, "extensions"):
			err = s.value()
			extensions, c.altered = span{from, s.pos}, true
		default:
			c.altered = true
			if err = c.lookAlike(s.text(name)); err == nil {
				err = s.value()
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	if err := s.end(); err != nil {
		return err
	}
	return c.checkMembers(extensions)
}

// scanVariables validates the variables and notes where each stands.
func (c *Call) scanVariables(s *scanner) error {
	switch s.peek() {
	case '{':
	case 'n':
		return s.value()
	default:
		return s.malformed("the member `variables` must be an object or null")
	}
	c.variables = make([]bodyVariable, 0, 24)
	return s.object(func(name memberName) error {
		if len(c.variables) == maxVariables {
			return wrongArgument("variables", "holds too many variables")
		}
		from := s.pos
		if err := s.value(); err != nil {
			return err
		}
		c.variables = append(c.variables, bodyVariable{name.span, span{from, s.pos}})
		return nil
	})
}

// lookAlike refuses members that a server which ignores case would take for one it knows.
func (c *Call) lookAlike(name string) error {
	switch foldFully(name) {
	case "query", "operationname", "variables", "extensions":
		return &iam.Error{Kind: iam.KindInvalid, Reason: ReasonDuplicateMember,
			Message: "the body has the member " + untrusted.Quote(name) + ", which differs only in case from one that is read"}
	}
	return nil
}

func (c *Call) checkMembers(extensions span) error {
	s := scanner{data: c.body}
	if !extensions.empty() {
		if _, ok := memberOf(extensions.of(c.body), "persistedQuery"); ok {
			return &iam.Error{Kind: iam.KindInvalid, Reason: ReasonPersistedQuery,
				Message: "persisted queries are not accepted: send the document itself"}
		}
	}
	if c.query.empty() || c.body[c.query.from] != '"' {
		return s.malformed("the member `query` must be there and a string")
	}
	if !c.operationName.empty() && c.body[c.operationName.from] != '"' && c.body[c.operationName.from] != 'n' {
		return s.malformed("the member `operationName` must be a string or null")
	}
	return nil
}

// name returns the wanted operation's name, "" if none is.
func (c *Call) name() string {
	raw := c.operationName.of(c.body)
	if len(raw) < 2 || raw[0] != '"' {
		return ""
	}
	return unquote(raw[1 : len(raw)-1])
}

// choose returns the operation that a server would run. Clients send no name, an empty one, or the
// right one (sdk-wire 4.1); where servers might differ nothing is run (threat G02).
func (d *document) choose(name string) (*operation, error) {
	if name == "" && len(d.operations) == 1 {
		return d.operations[0], nil
	}
	for _, op := range d.operations {
		// A document with an operation without a name must hold no other (GraphQL section 5.2.2.1).
		if op.name == "" && len(d.operations) > 1 {
			break
		}
		if op.name == name && name != "" {
			return op, nil
		}
	}
	return nil, &iam.Error{Kind: iam.KindInvalid, Reason: ReasonAmbiguousOperation,
		Message: "the GraphQL document does not tell which of its operations is meant: send operationName, or one operation"}
}

// Name returns the operation's name, "" if it has none. It is for logs: nothing is judged by it.
func (c *Call) Name() string { return c.op.name }

// Mutation reports whether the operation is a mutation.
func (c *Call) Mutation() bool { return c.op.mutation }

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

// BodyOptions says what to change in a request before it goes upstream.
type BodyOptions struct {
	// DefaultEntity is filled in where the client left the entity out.
	DefaultEntity string
	// Drop tells the root fields that the gateway answers itself, by name and response key; their
	// arguments and fields are not given. nil drops none.
	Drop func(Root) bool
}

// Only reports whether name is the only root field, under whatever alias.
func (c *Call) Only(name string) bool { return len(c.op.roots) == 1 && c.op.roots[0].name == name }

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
	// Download returns what a client is to fetch in place of a URL for which it will send no
	// credential (sdk-wire 3.4); ok is false if the URL stays as it is. nil changes none.
	Download func(url string) (instead string, ok bool)
	// Redact tells of an access that is Redactable whether the field behind it is emptied; nil empties
	// none.
	Redact func(Access) bool
	// Members returns the members of an entity as the record has them, in place of what the server says, for
	// the selection of the field. nil leaves the server's.
	Members func(entity string, selected Field) json.RawMessage
	// Learn asks for what the answer tells about projects and ids.
	Learn bool
	// Placed are the accesses by an id alone of which it was found out where they lie: their resources
	// with Entity and Project. What the answer shows below such an id lies there too.
	Placed []Resource
}

// Learned is something an answer told: ProjectUpserted or Placed; or, whatever it said, that a
// request may have changed who may do what: AccountsChanged. RunsMoved is told before the request goes on.
type Learned interface{ learned() }

// ProjectUpserted says that a project exists now, or that its visibility was set.
type ProjectUpserted struct {
	Entity, Project string
	// Access is the server's Project.access, from the request or else from the answer; "" if
	// neither tells it. Requested is true when the request set it.
	Access    string
	Requested bool
	// Inserted is true when the request made the project.
	Inserted bool
}

// Placed says in which project an opaque id lies.
type Placed struct {
	ID              string
	IDType          IDType
	Entity, Project string
}

// AccountsChanged says that people, teams or keys may have been changed by the caller.
type AccountsChanged struct {
	// Entity is the team, "" if it is not known.
	Entity string
}

// RunsMoved says that runs are about to leave a project: what lies in them may lie elsewhere from now on.
type RunsMoved struct{ Entity, Project string }

func (RunsMoved) learned()       {}
func (AccountsChanged) learned() {}
func (ProjectUpserted) learned() {}
func (Placed) learned()          {}
