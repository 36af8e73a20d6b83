package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/netip"
	"slices"

	"github.com/wandb-gateway/wandb-gateway/authz"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/problem"
	"github.com/wandb-gateway/wandb-gateway/internal/wandb"
)

// Accounts is the record of people, teams and API keys where that is the gateway's own: it answers what the
// SDK's administration sends (sdk-wire 8).
//
// Errors are iam.Errors. KindDenied, KindUnauthenticated and KindUnavailable refuse the request; what is
// wrong with it in another way (KindInvalid, KindNotFound, KindConflict, KindTooLarge) is told with status 200,
// as a GraphQL server would.
type Accounts interface {
	// Owns reports whether the record can answer a root field whole.
	Owns(root wandb.Root) bool
	// Answer carries out a root field that the record owns, and answers it. What the table of roots asks
	// for was decided; what depends on more than it names, such as whose key it is, Answer decides.
	Answer(ctx context.Context, q Question) (json.RawMessage, error)
	// Members answers the field members of an entity of which the server answers the rest.
	Members(ctx context.Context, who *iam.Principal, entity string, f wandb.Field) (json.RawMessage, error)
	// Keys answers the field apiKeys of `viewer`.
	Keys(ctx context.Context, who *iam.Principal, f wandb.Field) (json.RawMessage, error)
}

// Question is a root field that is asked of Accounts.
type Question struct {
	Who  *iam.Principal
	Root wandb.Root
	// Alone says that nothing but the gateway's own answers goes into what the client reads: it cannot be
	// lost because the server behind fails.
	Alone bool
	// Reason is that of the decision that let the request pass. Client and RequestID are for the audit event.
	Reason    iam.Reason
	Client    netip.Addr
	RequestID string
}

// changes are the root fields that change the record of people, teams and keys. Each stands alone in its
// request: one part done here and another at the server, or not done, would be a change half done.
var changes = [...]string{
	"createUser", "createTeam", "createInvite", "deleteInvite", "createServiceAccount", "generateApiKey", "deleteApiKey",
}

// administration are the changes, and what tells of everybody.
var administration = append([]string{"users"}, changes[:]...)

// administers reports whether the call has a root field that changes people, teams or keys.
func (x *exchange) administers() bool { return slices.ContainsFunc(changes[:], x.call.HasRoot) }

// administersHere reports whether the call would change the gateway's own record of them, or read all of it.
func (x *exchange) administersHere() bool {
	return x.call != nil && x.g.Accounts != nil && (x.administers() || x.call.HasRoot("users"))
}

// refuseAdministration keeps from the upstream what is administered elsewhere: the SDK's administration
// where the record is here would make a second one there.
func (x *exchange) refuseAdministration() error {
	if x.administersHere() {
		return x.checkChange()
	}
	p := x.caller.Principal
	if !x.g.OwnIdentity || p == nil {
		return nil
	}
	if p.FromUpstream {
		return x.refuseForeignKeys()
	}
	for _, name := range [...]string{"renameProject", "moveProjects", "cloneProjects"} {
		if !x.call.HasRoot(name) {
			continue
		}
		// Its new name would stand in no record: what was closed would be open to the whole team.
		return fail(&iam.Error{
			Kind: iam.KindDenied, Reason: ReasonAdministeredHere,
			Message: "Projects and who may see them are recorded at the gateway under their names, which therefore cannot change. Make a project of the new name, with the visibility it is to have, and move the runs.",
		})
	}
	for _, name := range administration {
		if x.call.HasRoot(name) {
			return fail(&iam.Error{
				Kind: iam.KindDenied, Reason: ReasonAdministeredHere,
				Message: "People and teams are recorded at the W&B server, which does not know " + p.Username + ": the gateway alone does. Send " + name + " with a key of the server's own. An administrator keeps the gateway's service accounts and their keys with `wandb-gateway iam service-account|key`.",
			})
		}
	}
	return nil
}

// checkChange holds a change of the record to its form. Nobody makes one without a credential, whatever else
// is let pass.
func (x *exchange) checkChange() error {
	if x.caller.Principal == nil {
		return x.needCredential()
	}
	for _, name := range changes {
		if x.call.HasRoot(name) && (!x.call.Only(name) || !x.call.Mutation()) {
			return fail(&iam.Error{
				Kind: iam.KindInvalid, Reason: ReasonNotAlone,
				Message: "A change of people, teams or API keys stands alone in its request: send " + name + " as a mutation of its own.",
			})
		}
	}
	if x.call.Mutation() && x.call.HasRoot("users") {
		return fail(&iam.Error{Kind: iam.KindInvalid, Reason: ReasonNotAlone, Message: "The field users is read in a query, not in a mutation."})
	}
	return nil
}

// refuseForeignKeys keeps a caller from making or deleting API keys of the account whose service key
// the upstream is shown.
func (x *exchange) refuseForeignKeys() error {
	if x.upstreamSeesCaller() {
		return nil
	}
	if x.call.HasRoot("deleteInvite") {
		// Its team is named and its member is an id: the server may obey the id, and the key that it is
		// shown may remove anybody from any team.
		return fail(&iam.Error{
			Kind: iam.KindDenied, Reason: ReasonAdministeredHere,
			Message: "The gateway asks the W&B server with a key of its own, and cannot tell of whose team the member is whom deleteInvite would remove. Remove members at the server itself.",
		})
	}
	for _, name := range [...]string{"generateApiKey", "deleteApiKey"} {
		if x.call.HasRoot(name) {
			return fail(&iam.Error{
				Kind: iam.KindDenied, Reason: ReasonAdministeredHere,
				Message: "The gateway asks the W&B server with a key of its own, for whose account " + name + " would count. Make and delete your API keys at the server itself.",
			})
		}
	}
	return nil
}

// maxOwn bounds the lists that one request may ask of the record. Each has to be read, and a document of some
// kilobytes can name thousands (threat G04).
const maxOwn = 16

var errTooMuchAsked = &iam.Error{
	Kind: iam.KindTooLarge, Reason: wandb.ReasonTooCostly,
	Message: "The request asks for people, members or keys too many times: send it in parts.",
}

// list counts a list that is asked of the record, and refuses one too many.
func (x *exchange) list() error {
	if x.lists++; x.lists > maxOwn {
		return errTooMuchAsked
	}
	return nil
}

// ownRoots are the root fields that the gateway answers itself.
type ownRoots []wandb.Root

// has reports whether a root field is one of them; it is told by name and response key.
func (own ownRoots) has(root wandb.Root) bool {
	return slices.ContainsFunc(own, func(r wandb.Root) bool { return r.ResponseKey == root.ResponseKey })
}

func (own ownRoots) order() []string {
	order := make([]string, len(own))
	for i := range own {
		order[i] = own[i].ResponseKey
	}
	return order
}

// ownRoots finds the root fields that the gateway answers itself: what the upstream cannot know, because the
// caller is known only here, and what is recorded here.
func (x *exchange) ownRoots() ownRoots {
	viewer := x.g.OwnIdentity && x.call.HasRoot("viewer")
	if x.caller.Principal == nil || x.upstreamSeesCaller() || !viewer && (x.g.Accounts == nil || !x.administersHere() && !x.call.HasRoot("entity")) {
		return nil // most calls: their arguments need not be decoded
	}
	var own ownRoots
	for _, root := range x.call.Roots() {
		if viewer && root.Name == "viewer" || x.g.Accounts != nil && x.g.Accounts.Owns(root) {
			own = append(own, root)
		}
	}
	return own
}

// answerOwn answers the gateway's own root fields, by response key. alone says that no others are asked for.
func (x *exchange) answerOwn(own ownRoots, alone bool) (map[string]json.RawMessage, error) {
	if len(own) == 0 {
		return nil, nil
	}
	answers := make(map[string]json.RawMessage, len(own))
	for _, root := range own {
		var err error
		if root.Name == "viewer" {
			answers[root.ResponseKey], err = x.answerViewer(root)
		} else if err = x.list(); err == nil {
			answers[root.ResponseKey], err = x.g.Accounts.Answer(x.r.Context(), x.question(root, alone))
		}
		if err != nil {
			return nil, err
		}
	}
	return answers, nil
}

func (x *exchange) question(root wandb.Root, alone bool) Question {
	q := Question{Who: x.caller.Principal, Root: root, Alone: alone, Reason: x.event.Reason, Client: x.client}
	if x.g.Host.RequestID != nil {
		q.RequestID = x.g.Host.RequestID(x.r)
	}
	return q
}

func (x *exchange) answerViewer(root wandb.Root) (json.RawMessage, error) {
	var failed error
	answer := answerViewer(x.caller.Principal, root.Fields, func(f wandb.Field) json.RawMessage {
		if x.g.Accounts == nil {
			return wandb.Page[iam.TeamRef]{}.Select(f.Fields) // keys are listed by `iam key list`
		}
		var keys json.RawMessage
		err := x.list()
		if err == nil {
			keys, err = x.g.Accounts.Keys(x.r.Context(), x.caller.Principal, f)
		}
		switch {
		case iam.KindOf(err) == iam.KindUnavailable:
			// Clients ask for it whenever they begin, and use it to administer only: while the store is away, no
			// run need wait for the names of keys. Null is not an empty list.
			return json.RawMessage("null")
		case err != nil:
			failed = err
			return json.RawMessage("null")
		}
		return keys
	})
	return answer, failed
}

// membersOf answers an entity's members in an answer of the server's. When nobody can tell, the request fails
// as a whole, as with a list that cannot be filtered.
func (x *exchange) membersOf(entity string, selected wandb.Field) json.RawMessage {
	var members json.RawMessage
	err := x.list()
	if err == nil {
		members, err = x.g.Accounts.Members(x.r.Context(), x.caller.Principal, entity, selected)
	}
	if err != nil {
		if x.listError == nil {
			x.listError = err
		}
		return json.RawMessage("null")
	}
	return members
}

// ownFailure ends a request whose own part failed. Who may not, and what nobody can tell, is refused like
// everything else; what is wrong with the request itself is told in a GraphQL answer (design section 6).
func (x *exchange) ownFailure(own ownRoots, err error) error {
	if errors.Is(err, errTooMuchAsked) {
		return fail(err)
	}
	switch iam.KindOf(err) {
	case iam.KindInvalid, iam.KindNotFound, iam.KindConflict, iam.KindTooLarge:
	default:
		x.event.Effect, x.event.Reason = authz.Deny, iam.ReasonOf(err)
		return fail(err)
	}
	p := problem.From(err)
	x.event.Effect, x.event.Reason, x.event.Status, x.event.Err = authz.Deny, p.Reason, http.StatusOK, err
	if x.g.Host.RequestID != nil {
		p.RequestID = x.g.Host.RequestID(x.r)
	}
	return writeGraphQL(x.w, p.GraphQL(own.order()))
}
