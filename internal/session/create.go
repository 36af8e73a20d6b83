package session

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/store"
)

// NewSession is what is known of a browser whose person has just proved who they are. The members mean
// what those of Session mean.
type NewSession struct {
	Principal                        iam.PrincipalRef
	Epoch                            uint64
	Issuer, Subject, ProviderSession string
	// IDToken is the ID token of the sign-in, for the id_token_hint of a logout at the provider. Leave
	// it zero if the provider has no end_session_endpoint: it takes more room than all the rest. One
	// longer than MaxIDTokenBytes is not kept.
	IDToken iam.Secret
	Method  Method
	Client  netip.Addr
	// UserAgent is kept as far as it is printable ASCII, up to 128 bytes.
	UserAgent string
}

// Create records a session and returns the value of its cookie, which is returned here and nowhere
// else. Every call makes a new value, whatever the browser presented before (threats O09); ending the
// browser's old session is left to the caller. If the person has MaxPerPerson sessions already, the
// oldest ends.
//
// What no session can hold is iam.KindInvalid.
func (s *Sessions) Create(ctx context.Context, n NewSession) (iam.Secret, *Session, error) {
	r, err := s.newRecord(n)
	if err != nil {
		return iam.Secret{}, nil, err
	}
	value, err := json.Marshal(r)
	if err != nil {
		return iam.Secret{}, nil, fmt.Errorf("encoding a session: %w", err)
	}
	secret := newValue()
	key, _ := s.keyOf(secret)
	created, err := decode(store.Record{Key: key, Value: value})
	if err != nil {
		return iam.Secret{}, nil, err
	}
	writes := []store.Write{{Key: key, Value: value, Expect: store.Absent()}}
	for _, index := range s.indexes(created) {
		writes = append(writes, store.Write{Key: index, Value: []byte{}, Expect: store.Absent()})
	}
	if hint := s.sealHint(secret, created, n.IDToken); hint != nil {
		writes = append(writes, store.Write{Key: s.hintOf(created), Value: hint})
	}
	displaced, err := s.beyondBound(ctx, n.Principal)
	if err != nil {
		return iam.Secret{}, nil, err
	}
	for _, w := range s.deletions(displaced) {
		w.Expect = store.Expect{} // somebody else may end it first
		writes = append(writes, w)
	}
	if _, err := s.cache.Commit(ctx, writes...); err != nil {
		return iam.Secret{}, nil, unreadable(fmt.Errorf("recording a session: %w", err))
	}
	return secret, created, nil
}

// indexes returns the keys of the records that find a session.
func (s *Sessions) indexes(x *Session) []string {
	keys := []string{s.sessionsOf(x.Principal) + x.ID}
	if x.ProviderSession != "" {
		keys = append(keys, s.sessionsOfProvider(x.Issuer, x.ProviderSession)+x.ID)
	}
	if x.Subject != "" {
		keys = append(keys, s.sessionsOfSubject(x.Issuer, x.Subject)+x.ID)
	}
	return keys
}

// beyondBound returns the owner's oldest sessions, as many as must end so that one more keeps the
// bound.
func (s *Sessions) beyondBound(ctx context.Context, owner iam.PrincipalRef) ([]stored, error) {
	ids, err := s.list(ctx, s.sessionsOf(owner))
	if err != nil || len(ids) < MaxPerPerson {
		return nil, err
	}
	all, err := s.withIDs(ctx, ids, func(x *Session) bool { return x.Principal == owner })
	if err != nil || len(all) < MaxPerPerson {
		return nil, err
	}
	slices.SortFunc(all, func(a, b stored) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID))
	})
	return all[:len(all)-MaxPerPerson+1], nil
}
