// Package vault keeps the keys that people and teams have at the W&B server, with which the gateway asks
// it in their name (`upstream_credential per_user`, design section 4). A key is sealed under the master
// key for its owner's place and no other; it goes to the upstream, and is shown to nobody again.
//
// Whose key stands for whom: a person's own for the person, whatever they signed in with; that of its
// team, or of its default team, for a service account. Nobody's for anybody else: a person without a
// key does not get the team's, in whose name they would act.
package vault

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/apikey"
	"github.com/wandb-gateway/wandb-gateway/internal/directory"
	"github.com/wandb-gateway/wandb-gateway/internal/hotcache"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/keys"
	"github.com/wandb-gateway/wandb-gateway/internal/store"
)

// Config is what a Vault needs. All but Now are required.
type Config struct {
	// Directory records what was sealed, and whose it is.
	Directory *directory.Directory
	// Cache is the cache of the directory's records.
	Cache *hotcache.Cache
	// Master seals the keys.
	Master keys.MasterKey
	// Now is the clock for the dates that people see; nil means time.Now.
	Now func() time.Time
}

// Vault keeps keys. It is safe for use by many goroutines.
type Vault struct {
	Config
	decode func(store.Record) (*opened, error)
}

// New checks the configuration. It reads nothing.
func New(c Config) (*Vault, error) {
	if c.Directory == nil || c.Cache == nil || c.Master.IsZero() {
		return nil, errors.New("vault: Directory, Cache and Master are required")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	v := &Vault{Config: c}
	v.decode = v.open
	return v, nil
}

// Entry says that a key is kept for an owner, and since when. The key itself is not in it.
type Entry struct {
	Owner iam.EntityID
	Set   time.Time
}

// sealed is the record: the key under the context of the record's name.
type sealed struct {
	Sealed []byte    `json:"sealed"`
	Set    time.Time `json:"set"`
}

// opened is a record whose key was unsealed, once for each revision, in the form in which it is used.
type opened struct{ authorization iam.Secret }

// Check reports whether a text can be a key of the W&B server. The error says what is wrong with it and
// nothing of what is in it.
func Check(key iam.Secret) error {
	switch apikey.FormOf(key.Reveal()) {
	case apikey.Foreign:
		return nil
	case apikey.Minted, apikey.MintedDamaged:
		return iam.Invalidf("This is an API key of the gateway's own, which the W&B server does not know. Copy the key from the settings of your account at the W&B server itself.")
	case apikey.JWT:
		return iam.Invalidf("This is a token, which soon expires, and not an API key of the W&B server.")
	default:
		return iam.Invalidf("A key of the W&B server has %d to %d printable ASCII characters without blanks. Copy it again, without quotes or line breaks.", apikey.MinBytes, apikey.MaxBytes)
	}
}

// Set keeps a key for a person or team, in place of an earlier one, and reports whether there was one.
// A text that cannot be a key is iam.KindInvalid, an owner that does not exist iam.KindNotFound.
func (v *Vault) Set(ctx context.Context, owner iam.EntityID, key iam.Secret) (replaced bool, err error) {
	if err := Check(key); err != nil {
		return false, err
	}
	box, err := v.Master.Seal([]byte(key.Reveal()), v.Directory.UpstreamKeyRecord(owner))
	if err != nil {
		return false, err
	}
	record, err := json.Marshal(sealed{box, v.Now().UTC().Truncate(time.Second)})
	if err != nil {
		return false, err
	}
	return v.Directory.SetUpstreamKey(ctx, owner, record)
}

// Delete forgets the key of a person or team: it stands for nobody any more when Delete returns. Without
// one it is iam.KindNotFound.
func (v *Vault) Delete(ctx context.Context, owner iam.EntityID) error {
	return v.Directory.DeleteUpstreamKey(ctx, owner)
}

// Find says whether a key is kept for an owner, and since when.
func (v *Vault) Find(ctx context.Context, owner iam.EntityID) (Entry, bool, error) {
	r, err := v.Directory.UpstreamKey(ctx, owner)
	if errors.Is(err, store.ErrNotFound) {
		return Entry{}, false, nil
	}
	if err != nil {
		return Entry{}, false, err
	}
	e, err := entry(owner, r)
	return e, err == nil, err
}

// List calls f with every entry, in no useful order, until it returns an error, which is returned.
func (v *Vault) List(ctx context.Context, f func(Entry) error) error {
	return v.Directory.UpstreamKeys(ctx, func(owner iam.EntityID, r store.Record) error {
		e, err := entry(owner, r)
		if err != nil {
			return err
		}
		return f(e)
	})
}

func entry(owner iam.EntityID, r store.Record) (Entry, error) {
	s, err := read(r)
	return Entry{owner, s.Set}, err
}

func read(r store.Record) (s sealed, err error) {
	if err := json.Unmarshal(r.Value, &s); err != nil {
		return s, iam.Unavailable("a stored key of the W&B server cannot be read: store it again", fmt.Errorf("decoding record %q: %w", r.Key, err))
	}
	return s, nil
}

// OwnerFor returns whose key stands for a principal; "" for nobody's.
func OwnerFor(p *iam.Principal) iam.EntityID {
	switch p.Ref.Kind {
	case iam.KindUser:
		return iam.UserID(p.Ref.ID).PersonalEntity()
	case iam.KindServiceAccount:
		return p.Home.ID.Entity()
	case iam.Anonymous:
		return ""
	default:
		return ""
	}
}

// Authorization returns the Authorization header with which the upstream is asked for a principal: the
// key that stands for it, in the form in which W&B's own clients send it (sdk-wire 1.2). It is "" when
// there is none; iam.KindUnavailable means that nobody can tell at the moment. What it returned for a
// key that was deleted or replaced since, on whichever node, it does not return again.
func (v *Vault) Authorization(ctx context.Context, p *iam.Principal) (string, error) {
	owner := OwnerFor(p)
	if owner == "" {
		return "", nil
	}
	o, err := hotcache.Read(ctx, v.Cache.View(), v.Directory.UpstreamKeyRecord(owner), v.decode)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return "", nil
	case err != nil:
		return "", err
	}
	return o.authorization.Reveal(), nil
}

// open unseals a record. What was sealed for another owner does not open.
func (v *Vault) open(r store.Record) (*opened, error) {
	s, err := read(r)
	if err != nil {
		return nil, err
	}
	key, err := v.Master.Open(s.Sealed, r.Key)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	text := append([]byte("api:"), key...)
	defer clear(text)
	return &opened{iam.NewSecret("Basic " + base64.StdEncoding.EncodeToString(text))}, nil
}
