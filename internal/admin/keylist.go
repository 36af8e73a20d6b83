package admin

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/directory"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/untrusted"
)

// A list of keys goes through all of them, or through those of one owner: the store has no index by name or by use. It
// holds no more than the rows that it shows.

const (
	// maxPage bounds a page of a list that is asked for in pages.
	maxPage = 10_000
	// maxCursorBytes bounds a cursor: a row of a key, whose name and owner are bounded.
	maxCursorBytes = 4 << 10
	// maxUnusedFor bounds --unused-for: longer than any key is old.
	maxUnusedFor = 100 * 365 * 24 * time.Hour
)

// keyQuery says which keys to list, and how.
type keyQuery struct {
	owner iam.PrincipalRef // nobody: of all
	team  iam.TeamID       // only of the team's own service accounts
	kind  iam.PrincipalKind
	id    iam.KeyID
	// search is a part of the name or of the id, in lower case.
	search string
	// unusedSince leaves out what was used, or made, later.
	unusedSince time.Time
	order       keyOrder
	limit       int // 0 for all
	after       *KeyRow
}

// keyPage is a page of keys.
type keyPage struct {
	Rows []KeyRow `json:"rows"`
	// Next is the cursor for the next page; absent on the last one.
	Next string `json:"next,omitempty"`
}

// keyColumns are the columns of a row that it can be sorted by. Times are in the order of their text; what never
// was comes first.
var keyColumns = map[string]func(*KeyRow) string{
	"id":        func(r *KeyRow) string { return string(r.ID) },
	"owner":     func(r *KeyRow) string { return iam.FoldName(r.Owner) },
	"name":      func(r *KeyRow) string { return strings.ToLower(r.Name) },
	"created":   func(r *KeyRow) string { return moment(r.Created) },
	"last_used": func(r *KeyRow) string { return moment(r.LastUsed) },
	"expires":   func(r *KeyRow) string { return moment(r.Expires) },
	"read_only": func(r *KeyRow) string { return strconv.FormatBool(r.ReadOnly) },
	"entity":    func(r *KeyRow) string { return iam.FoldName(r.Entity) },
	"project":   func(r *KeyRow) string { return r.Project },
}

func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// keyOrder is an order of rows. It never takes two keys for one, or pages would lose some.
type keyOrder struct {
	column     string // "" for the owner
	descending bool
}

func (o keyOrder) compare(a, b *KeyRow) int {
	value := keyColumns[cmp.Or(o.column, "owner")]
	order := cmp.Or(cmp.Compare(value(a), value(b)), cmp.Compare(a.Owner, b.Owner),
		a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID), cmp.Compare(a.Name, b.Name))
	if o.descending {
		return -order
	}
	return order
}

// String is the form in which parseKeyOrder reads it.
func (o keyOrder) String() string {
	if o.descending {
		return o.column + ":desc"
	}
	return o.column
}

// parseKeyOrder reads COLUMN, COLUMN:asc or COLUMN:desc.
func parseKeyOrder(s string) (keyOrder, error) {
	column, direction, given := strings.Cut(s, ":")
	o := keyOrder{strings.ReplaceAll(column, "-", "_"), direction == "desc"}
	if _, ok := keyColumns[o.column]; !ok || given && direction != "desc" && direction != "asc" {
		return o, iam.Invalidf("keys cannot be sorted by %q: give name, id, owner, last_used, created, expires, read_only, entity or project, with :desc for the other direction", untrusted.Clip(s))
	}
	return o, nil
}

// parseAge reads a duration, in days (90d) or as Go writes it (36h).
func parseAge(s string) (time.Duration, error) {
	age, err := time.ParseDuration(s)
	if days, ok := strings.CutSuffix(s, "d"); ok {
		var n int
		if n, err = strconv.Atoi(days); err == nil && n <= int(maxUnusedFor/(24*time.Hour)) {
			age = time.Duration(n) * 24 * time.Hour
		}
	}
	if err != nil || age <= 0 || age > maxUnusedFor {
		return 0, iam.Invalidf("%q is no time such as 90d or 36h", untrusted.Clip(s))
	}
	return age, nil
}

// keyCursor is the place behind a row, in one order.
type keyCursor struct {
	Order string `json:"order"`
	Row   KeyRow `json:"row"`
}

func (o keyOrder) cursor(r KeyRow) (string, error) {
	b, err := json.Marshal(keyCursor{o.String(), r})
	return base64.RawURLEncoding.EncodeToString(b), err
}

// parseCursor reads what cursor wrote.
func (o keyOrder) parseCursor(s string) (*KeyRow, error) {
	var c keyCursor
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err == nil && len(s) <= maxCursorBytes {
		err = decode(b, &c)
	}
	if err != nil || len(s) > maxCursorBytes || c.Row.ID == "" {
		return nil, iam.Invalidf("--after is not a cursor: give the one that the page before ended with")
	}
	if c.Order != o.String() {
		return nil, iam.Invalidf("--after is the cursor of a list in another order: give --sort as for the page before")
	}
	return &c.Row, nil
}

func (s *Service) keyQuery(ctx context.Context, r request) (q keyQuery, err error) {
	if r.Owner != nil {
		if q.owner, err = s.requiredOwner(ctx, r); err != nil {
			return q, err
		}
	}
	if text(r.Team) != "" {
		if q.team, err = s.team(ctx, *r.Team); err != nil {
			return q, err
		}
	}
	switch text(r.Kind) {
	case "":
	case "user":
		q.kind = iam.KindUser
	case "service_account":
		q.kind = iam.KindServiceAccount
	default:
		return q, iam.Invalidf("--kind %q is neither user nor service_account", untrusted.Clip(*r.Kind))
	}
	q.search = strings.ToLower(text(r.Search))
	if r.UnusedFor != nil {
		age, err := parseAge(*r.UnusedFor)
		if err != nil {
			return q, err
		}
		q.unusedSince = s.now().Add(-age)
	}
	if r.Sort != nil {
		if q.order, err = parseKeyOrder(*r.Sort); err != nil {
			return q, err
		}
	}
	if r.Limit != nil {
		if q.limit, err = strconv.Atoi(*r.Limit); err != nil || q.limit < 1 || q.limit > maxPage {
			return q, iam.Invalidf("--limit %q is no number from 1 to %d", untrusted.Clip(*r.Limit), maxPage)
		}
	}
	if r.After != nil {
		if r.Limit == nil {
			return q, iam.Invalidf("--after goes on with a list in pages: give --limit too")
		}
		q.after, err = q.order.parseCursor(*r.After)
	}
	return q, err
}

// listKeys answers all rows, or a page where a limit is given.
func (s *Service) listKeys(ctx context.Context, r request) (any, error) {
	q, err := s.keyQuery(ctx, r)
	if err != nil {
		return nil, err
	}
	page, err := s.keyRows(ctx, q)
	if q.limit == 0 {
		return page.Rows, err
	}
	return page, err
}

// keyRows collects keys.
func (s *Service) keyRows(ctx context.Context, q keyQuery) (keyPage, error) {
	began, err := s.directory.UsesBegan(ctx)
	if err != nil {
		return keyPage{}, err
	}
	owners, entities := owners{s: s, known: map[iam.PrincipalRef]keyOwner{}}, map[iam.EntityID]string{}
	first := firstRows{order: q.order, limit: q.limit, rows: []KeyRow{}}
	err = s.directory.UsedKeys(ctx, q.owner, func(k directory.Key) error {
		if !q.wants(k, began) {
			return nil
		}
		owner, err := owners.find(ctx, k.Owner)
		if err != nil || owner.name == "" || q.team != "" && owner.team != q.team {
			return err
		}
		limits, err := s.shownLimits(ctx, k.KeyLimits, entities)
		if err != nil {
			return err
		}
		row := KeyRow{ID: k.ID, Owner: owner.name, Name: k.Name, Created: k.Created, LastUsed: k.LastUsed, keyLimits: limits}
		if q.after == nil || q.order.compare(&row, q.after) > 0 {
			first.add(row)
		}
		return nil
	})
	if err != nil {
		return keyPage{}, err
	}
	return first.page()
}

// wants reports whether a key is asked for, as far as it tells itself.
func (q *keyQuery) wants(k directory.Key, usesBegan time.Time) bool {
	switch {
	case q.id != "" && k.ID != q.id,
		q.kind != iam.Anonymous && k.Owner.Kind != q.kind,
		q.team != "" && k.Owner.Kind != iam.KindServiceAccount,
		!q.unusedSince.IsZero() && !k.UnusedSince(q.unusedSince, usesBegan):
		return false
	}
	return q.search == "" || strings.Contains(strings.ToLower(k.Name), q.search) || strings.Contains(string(k.ID), q.search)
}

// owners finds the owners of keys, each once.
type owners struct {
	s     *Service
	known map[iam.PrincipalRef]keyOwner
}

// keyOwner is an owner as lists have it: the name, and the team of a team's service account.
type keyOwner struct {
	name string
	team iam.TeamID
}

// find returns no name for who was deleted meanwhile.
func (o *owners) find(ctx context.Context, ref iam.PrincipalRef) (keyOwner, error) {
	owner, ok := o.known[ref]
	if ok {
		return owner, nil
	}
	p, err := o.s.directory.Principal(ctx, ref)
	switch {
	case iam.KindOf(err) == iam.KindUnauthenticated:
	case err != nil:
		return owner, err
	case p.IsServiceAccount():
		owner = keyOwner{"service_account:" + p.Username, p.Scope.ID}
	default:
		owner = keyOwner{name: p.Username}
	}
	o.known[ref] = owner
	return owner, nil
}

// firstRows keeps the first rows in an order, of many.
type firstRows struct {
	order keyOrder
	limit int // 0 keeps all
	rows  []KeyRow
	more  bool
}

func (f *firstRows) add(r KeyRow) {
	f.rows = append(f.rows, r)
	if f.limit > 0 && len(f.rows) >= 2*f.limit+1000 {
		f.cut()
	}
}

func (f *firstRows) cut() {
	slices.SortFunc(f.rows, func(a, b KeyRow) int { return f.order.compare(&a, &b) })
	if f.limit > 0 && len(f.rows) > f.limit {
		f.rows, f.more = f.rows[:f.limit], true
	}
}

func (f *firstRows) page() (keyPage, error) {
	f.cut()
	page := keyPage{Rows: f.rows}
	var err error
	if f.more {
		page.Next, err = f.order.cursor(f.rows[len(f.rows)-1])
	}
	return page, err
}
