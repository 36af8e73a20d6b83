package upstream

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// peopleWordings ask who is in a team and what sort of account each is (SDK-3). A server that does
// not tell the sorts is not asked for the list, which can be long. Keys of service accounts stand in
// it and are not asked for.
var peopleWordings = []string{
	`query GatewayPeople($entity: String!) { entity(name: $entity) { members { username email accountType pending } } }`,
	`query GatewayPeople($entity: String!) { entity(name: $entity) { members { username email accountType } } }`,
	`query GatewayPeople($entity: String!) { entity(name: $entity) { name } }`,
}

// people is a team's member list. Empty, it tells nothing: a team that has nobody in it has nobody
// who asks.
type people []listed

type listed struct {
	Username string      `json:"username"`
	Email    string      `json:"email"`
	Account  accountType `json:"accountType"`
	Pending  bool        `json:"pending"`
}

// accountType is what the server says that an account is.
type accountType uint8

const (
	accountUntold accountType = iota
	accountPerson
	accountService
)

// UnmarshalJSON reads the server's word: "SERVICE" in any case is a service account, and any other
// word a person. What is no word tells nothing, and does not make the rest unreadable.
func (t *accountType) UnmarshalJSON(b []byte) error {
	*t = accountUntold
	var word string
	if json.Unmarshal(b, &word) != nil || word == "" {
		return nil
	}
	if *t = accountPerson; strings.EqualFold(word, "SERVICE") {
		*t = accountService
	}
	return nil
}

// askPeople asks for a team's member list; an empty one when the server does not tell. Errors are
// iam.KindUnavailable.
func (d *Directory) askPeople(ctx context.Context, who asker, team string) (people, error) {
	if d.questions.people.first() == len(peopleWordings)-1 {
		return nil, nil // the server has just said that it tells nobody
	}
	r, err := d.ask(ctx, who, &d.questions.people, map[string]string{"entity": team})
	switch {
	case errors.Is(err, errTooLarge), errors.Is(err, errUnknownField), errors.Is(err, errForbidden), errors.Is(err, errNotFound):
		return nil, nil // and will not the next time
	case errors.Is(err, errRefused):
		return nil, d.refusedMeanwhile(who, err)
	case err != nil:
		return nil, err
	}
	entity, err := rootOf[struct {
		Members people `json:"members"`
	}](r, "entity")
	if err != nil {
		return nil, d.unavailable("answered only half of who is in the team", err, 0)
	}
	if entity == nil {
		return nil, nil
	}
	return entity.Members, nil
}

// listAskers are those in whose names a member list is asked for, in turn: the caller, to whom it
// may be closed, and the administrator.
func (d *Directory) listAskers(who asker) []asker {
	askers := make([]asker, 0, 2)
	for _, a := range [...]asker{who, d.adminFor(who)} {
		if a.kind != askerNobody {
			askers = append(askers, a)
		}
	}
	return askers
}

// named finds the only row with that user name, nil if there is none. Two of one name are a
// contradiction, and ok is false.
func (l people) named(username string) (row *listed, ok bool) {
	return l.only(func(m *listed) bool { return m.Username == username })
}

// withEmail finds the only row with that e-mail address in the same way.
func (l people) withEmail(email string) (row *listed, ok bool) {
	email = iam.FoldName(email)
	return l.only(func(m *listed) bool { return iam.FoldName(m.Email) == email })
}

func (l people) only(is func(*listed) bool) (row *listed, ok bool) {
	for i := range l {
		if !is(&l[i]) {
			continue
		}
		if row != nil {
			return nil, false
		}
		row = &l[i]
	}
	return row, true
}

// tellsEmails reports whether the list holds e-mail addresses: to some callers the server shows the
// names alone.
func (l people) tellsEmails() bool {
	for i := range l {
		if l[i].Email != "" {
			return true
		}
	}
	return false
}
