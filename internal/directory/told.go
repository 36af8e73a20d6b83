package directory

import (
	"bytes"
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/wandb-gateway/wandb-gateway/internal/store"
)

// Told is one record that a change made, changed or deleted, for audit events.
type Told struct {
	Kind ToldKind
	// Subject is what people call it: a name, or the id of a key; "" for what there is one of.
	Subject string
	// Before and After are the record, nil for what was not there. No record holds a key.
	Before, After json.RawMessage
}

// ToldKind is what a record is of.
type ToldKind string

// The kinds. A custom role is told as if it had a record of its own.
const (
	ToldUser           ToldKind = "user"
	ToldTeam           ToldKind = "team"
	ToldProject        ToldKind = "project"
	ToldServiceAccount ToldKind = "service_account"
	ToldKey            ToldKind = "api_key"
	ToldRole           ToldKind = "role"
	ToldOrganization   ToldKind = "organization"
)

// Telling returns the directory for changes of which f is told each record, after they were committed. It is for
// doors at which one change may touch many records of several kinds; others tell what they did themselves. Reading
// is as before.
func (d *Directory) Telling(f func(Told)) *Directory {
	telling := *d
	telling.told = f
	return &telling
}

// tell tells what was committed. What only helps to find something is left out.
func (tx *transaction) tell(committed []store.Write) {
	if tx.d.told == nil {
		return
	}
	for _, w := range committed {
		kind, ok := tx.d.names.kindOf(w.Key)
		if !ok || !tx.writesRecord(w.Key) {
			continue
		}
		before, after := tx.read[w.Key].Value, tx.staged[w.Key]
		if kind == ToldRole {
			tellRoles(before, after, tx.d.told)
			continue
		}
		tx.d.told(Told{kind, subjectOf(kind, cmp.Or(string(after), string(before))), before, after})
	}
}

// tellRoles tells each custom role that differs between two states of the one record that holds them all.
func tellRoles(before, after []byte, told func(Told)) {
	was, is := rolesIn(before), rolesIn(after)
	names := slices.AppendSeq(slices.Collect(maps.Keys(was)), maps.Keys(is))
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		if !bytes.Equal(was[name], is[name]) {
			told(Told{ToldRole, name, was[name], is[name]})
		}
	}
}

// rolesIn reads the roles of a record by name; none of one that is not there.
func rolesIn(record []byte) map[string]json.RawMessage {
	var list struct {
		Roles []json.RawMessage `json:"roles"`
	}
	if json.Unmarshal(record, &list) != nil {
		return nil
	}
	roles := map[string]json.RawMessage{}
	for _, role := range list.Roles {
		roles[subjectOf(ToldRole, string(role))] = role
	}
	return roles
}

// kindOf returns what the record with that key is of, and false for one that nobody would ask for.
func (n *names) kindOf(key string) (ToldKind, bool) {
	switch key {
	case n.roles:
		return ToldRole, true
	case n.organization:
		return ToldOrganization, true
	}
	rest, ok := strings.CutPrefix(key, n.space)
	if !ok {
		return "", false
	}
	table, _, _ := strings.Cut(rest, "/")
	switch table {
	case "user":
		return ToldUser, true
	case "team":
		return ToldTeam, true
	case "project":
		return ToldProject, true
	case "sa":
		return ToldServiceAccount, true
	case "key":
		return ToldKey, true
	default:
		return "", false
	}
}

// subjectOf reads what a record calls itself; "" if it cannot be read, which its bytes then show.
func subjectOf(kind ToldKind, record string) string {
	var named struct {
		ID       string `json:"id"`
		Name     string `json:"name"`
		Username string `json:"username"`
	}
	if json.Unmarshal([]byte(record), &named) != nil {
		return ""
	}
	switch kind {
	case ToldUser:
		return named.Username
	case ToldKey:
		return named.ID
	case ToldTeam, ToldProject, ToldServiceAccount, ToldRole:
		return named.Name
	case ToldOrganization:
		return ""
	default:
		return ""
	}
}

// Deactivates reports whether the change deactivated an account.
func (t Told) Deactivates() bool { return t.active(t.Before) && t.After != nil && !t.active(t.After) }

// Reactivates reports whether the change reactivated an account.
func (t Told) Reactivates() bool { return t.Before != nil && !t.active(t.Before) && t.active(t.After) }

func (t Told) active(record json.RawMessage) bool {
	var account struct {
		Active bool `json:"active"`
	}
	return (t.Kind == ToldUser || t.Kind == ToldServiceAccount) && json.Unmarshal(record, &account) == nil && account.Active
}
