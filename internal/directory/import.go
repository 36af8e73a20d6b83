package directory

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/untrusted"
)

// MaxImportBytes bounds an import file.
const MaxImportBytes = 64 << 20 // 64 MiB

// ReasonImportRefused is the reason for refusing an import file.
const ReasonImportRefused iam.Reason = "import_refused"

// ImportOptions say how a file is applied.
type ImportOptions struct {
	// Prune deletes what the file does not name, in those lists that it has: a file without
	// "projects" leaves projects alone, one with an empty list deletes them all.
	Prune bool
	// DryRun judges the file and counts, but writes nothing.
	DryRun bool
}

// ImportResult counts what became of the file's rows, and of what was pruned.
type ImportResult struct {
	Created   int `json:"created"`
	Updated   int `json:"updated"`
	Unchanged int `json:"unchanged"`
	Deleted   int `json:"deleted"`
	// Ignored counts exported keys that are not recorded here: an export has no key material.
	Ignored int `json:"ignored,omitempty"`
	// Rows tells what was created, updated and deleted, for audit events.
	Rows []ImportedRow `json:"-"`
}

// ImportedRow is one thing that an import changed.
type ImportedRow struct {
	Kind   string // user, team, project, service_account, custom_role, api_key or organization
	Name   string // a project's is entity/name, a key's its id
	Effect string // created, updated or deleted
}

// Import brings the directory in line with a file (design section 7). Rows update what they name,
// member by member: what a row leaves out stays as it is. `members` of a project replaces its list;
// `members` of a team adds to the team and changes roles, and with Prune also replaces. What no row
// names stays, unless pruned.
//
// The file is judged as a whole against the state that it would lead to and applied in one commit,
// or refused as a whole with every bad row named (iam.KindInvalid, ReasonImportRefused). Importing
// it again writes nothing. A file whose changes need more than store.MaxWrites writes (10,000 users,
// teams and projects always fit) is refused with the advice to split it.
func (d *Directory) Import(ctx context.Context, file []byte, o ImportOptions) (ImportResult, error) {
	if len(file) > MaxImportBytes {
		return ImportResult{}, &iam.Error{Kind: iam.KindTooLarge, Reason: ReasonImportRefused,
			Message: fmt.Sprintf("the file has %d bytes, and at most %d can be imported at once: split it", len(file), MaxImportBytes)}
	}
	document, err := parseDocument(file)
	if err != nil {
		return ImportResult{}, importRefused([]string{err.Error()})
	}
	if document.kind != anObject {
		return ImportResult{}, importRefused([]string{"the file is " + document.kind + " and must be an object"})
	}
	var im *importer
	err = d.change(ctx, func(tx *transaction) error {
		im = newImporter(tx, o)
		if err := im.file(document); err != nil {
			return err
		}
		if err := tx.keepAnAdmin(); err != nil {
			im.refuse("users", err)
		}
		if len(im.faults) > 0 {
			return importRefused(im.faults)
		}
		if o.DryRun {
			return errDryRun
		}
		return nil
	})
	if err != nil && !errors.Is(err, errDryRun) {
		return ImportResult{}, err
	}
	return im.result, nil
}

var errDryRun = errors.New("directory: a dry run")

func importRefused(faults []string) error {
	what := "1 thing is wrong"
	if len(faults) > 1 {
		what = fmt.Sprintf("%d things are wrong", len(faults))
	}
	return &iam.Error{Kind: iam.KindInvalid, Reason: ReasonImportRefused,
		Message: "the file was refused and nothing was changed: " + what + "\n  " + strings.Join(faults, "\n  ")}
}

// importer applies a file to a transaction, by the same functions that administration uses.
type importer struct {
	tx      *transaction
	options ImportOptions
	result  ImportResult
	faults  []string
	// named are the rows seen, by list and folded name; bad those that were refused: rows that refer
	// to them are not reported too.
	named map[string]string
	bad   map[string]bool
	// have are the lists that the file has.
	have map[string]bool
	// users wait for the teams, one of which may be their default, and what teams are set to for the projects.
	users []importedUser
	teams []importedTeam
}

func newImporter(tx *transaction, o ImportOptions) *importer {
	return &importer{tx: tx, options: o, named: map[string]string{}, bad: map[string]bool{}, have: map[string]bool{}}
}

// file applies all lists, in an order in which what is referred to comes first. Faults in the file
// are noted; the error is for what is not the file's fault.
func (im *importer) file(document value) error {
	top := &row{value: document}
	if name := top.text("organization"); name != nil && *name != im.tx.d.organization {
		im.faults = append(im.faults, fmt.Sprintf("organization: the file is of %q, this gateway serves %s", untrusted.Clip(*name), im.tx.d.organization))
	}
	enforced, err := im.enforced(top)
	if err != nil {
		return err
	}
	for _, step := range []struct {
		list  string
		apply func(*row) error
	}{
		{"custom_roles", im.customRole},
		{"users", im.user},
		{"teams", im.team},
		{"service_accounts", im.serviceAccount},
		{"projects", im.project},
		{"api_keys", im.apiKey},
	} {
		if err := im.list(top, step.list, step.apply); err != nil {
			return err
		}
	}
	if err := im.settleUsers(); err != nil {
		return err
	}
	if err := im.settleTeams(); err != nil {
		return err
	}
	if err := im.settleEnforced(enforced); err != nil {
		return err
	}
	top.unknown()
	for _, fault := range top.faults {
		im.faults = append(im.faults, "the file: "+fault)
	}
	if im.options.Prune && len(im.faults) == 0 {
		return im.prune()
	}
	return nil
}

// list applies one list's rows.
func (im *importer) list(top *row, name string, apply func(*row) error) error {
	var failed error
	im.have[name] = top.rows(name, func(i int, r *row) {
		if failed != nil {
			return
		}
		r.label = fmt.Sprintf("%s[%d]", name, i)
		failed = im.judge(r, apply(r))
	})
	return failed
}

// refusal reports whether err is the file's fault.
func refusal(err error) bool {
	switch iam.KindOf(err) {
	case iam.KindInvalid, iam.KindConflict, iam.KindNotFound, iam.KindDenied, iam.KindTooLarge:
		return true
	case iam.KindInternal, iam.KindUnavailable, iam.KindUnauthenticated, iam.KindTooMany:
		return false
	default:
		return false
	}
}

// judge notes what is wrong with a row. It returns errors that are not the file's fault.
func (im *importer) judge(r *row, err error) error {
	if err == nil && len(r.faults) == 0 {
		return nil
	}
	if err != nil && !refusal(err) {
		return err
	}
	im.bad[r.key] = true
	if err != nil && err != errFaulty {
		r.faultf("%s", err)
	}
	label := r.label
	if r.name != "" {
		label += " (" + untrusted.Clip(r.name) + ")"
	}
	for _, fault := range r.faults {
		im.faults = append(im.faults, label+": "+fault)
	}
	return nil
}

func (im *importer) refuse(label string, err error) {
	im.faults = append(im.faults, label+": "+err.Error())
}

// errFaulty says that the row's faults are noted already, in it or in a row that it refers to.
var errFaulty = iam.Invalidf("the row has faults")

// begin names a row after all its members were asked for, and makes sure that the file has it once.
// It fails when the row is faulty.
func (im *importer) begin(r *row, kind, name, key string) error {
	r.unknown()
	r.name, r.key = name, kind+"/"+key
	if first, twice := im.named[r.key]; twice && name != "" {
		r.faultf("is in the file already, as %s", first)
	}
	im.named[r.key] = r.label
	if r.value.kind != anObject {
		r.faults = []string{"is " + r.value.kind + " and must be an object"}
	}
	if len(r.faults) > 0 {
		return errFaulty
	}
	return nil
}

// has reports whether the file has a row of that kind and key.
func (im *importer) has(kind, key string) bool {
	_, ok := im.named[kind+"/"+key]
	return ok
}

// count counts what became of a row.
func (im *importer) count(kind, name string, created, changed bool) {
	switch {
	case created:
		im.result.Created++
		im.result.Rows = append(im.result.Rows, ImportedRow{kind, name, "created"})
	case changed:
		im.result.Updated++
		im.result.Rows = append(im.result.Rows, ImportedRow{kind, name, "updated"})
	default:
		im.result.Unchanged++
	}
}

func (im *importer) deleted(kind, name string) {
	im.result.Deleted++
	im.result.Rows = append(im.result.Rows, ImportedRow{kind, name, "deleted"})
}
