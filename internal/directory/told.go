package directory

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
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

// The kinds. All custom roles are one record.
const (
	ToldUser           ToldKind = "user"
	ToldTeam           ToldKind = "team"
	ToldProject        ToldKind = "project"
	ToldServiceAccount ToldKind = "service_account"
	ToldKey            ToldKind = "api_key"
	ToldRoles          ToldKind = "roles"
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

// tell tells what was committed, in the order of the records' keys. What only helps to find something is left out.
func (tx *transaction) tell() {
	if tx.d.told == nil {
		return
	}
	var keys []string
	for key := range tx.staged {
		if tx.writesRecord(key) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	for _, key := range keys {
		kind, ok := tx.d.names.kindOf(key)
		if !ok {
			continue
		}
		t := Told{Kind: kind, Before: tx.read[key].Value, After: tx.staged[key]}
		t.Subject = subjectOf(kind, cmp.Or(string(t.After), string(t.Before)))
		tx.d.told(t)
	}
}

// kindOf returns what the record with that key is of, and false for one that nobody would ask for.
func (n *names) kindOf(key string) (ToldKind, bool) {
	switch key {
	case n.roles:
		return ToldRoles, true
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
	case ToldTeam, ToldProject, ToldServiceAccount:
		return named.Name
	case ToldRoles, ToldOrganization:
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
