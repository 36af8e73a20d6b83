package tokenexchange

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/wandb-gateway/wandb-gateway/internal/hotcache"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/store"
)

// maxRecorded bounds how many issuers administrators can record.
const maxRecorded = 256

// issuersRecord holds every issuer that an administrator registered: they are few, and one commit
// changes them.
type issuersRecord struct {
	Issuers []TrustedIssuer `json:"issuers"`
}

// recorded returns the recorded issuers by URL.
func (s *Service) recorded(ctx context.Context, v *hotcache.View) (map[string]*TrustedIssuer, error) {
	issuers, err := hotcache.Read(ctx, v, s.names.issuers, decodeIssuers)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	return issuers, err
}

func decodeIssuers(r store.Record) (map[string]*TrustedIssuer, error) {
	record, err := readIssuers(r)
	if err != nil {
		return nil, err
	}
	issuers := make(map[string]*TrustedIssuer, len(record.Issuers))
	for i := range record.Issuers {
		issuers[record.Issuers[i].URL] = &record.Issuers[i]
	}
	return issuers, nil
}

func readIssuers(r store.Record) (issuersRecord, error) {
	var record issuersRecord
	if len(r.Value) == 0 {
		return record, nil
	}
	if err := json.Unmarshal(r.Value, &record); err != nil {
		return record, iam.Unavailable("the record of trusted issuers cannot be read", fmt.Errorf("decoding record %q: %w", r.Key, err))
	}
	return record, nil
}

// Issuer is a trusted issuer with where it stands.
type Issuer struct {
	TrustedIssuer
	Configured bool
}

// Issuers lists the trusted issuers: those of the configuration, then the recorded ones, each by URL.
func (s *Service) Issuers(ctx context.Context) ([]Issuer, error) {
	var all []Issuer
	for _, url := range slices.Sorted(maps.Keys(s.configured)) {
		all = append(all, Issuer{*s.configured[url], true})
	}
	recorded, err := s.recorded(ctx, s.Cache.View())
	for _, url := range slices.Sorted(maps.Keys(recorded)) {
		all = append(all, Issuer{*recorded[url], false})
	}
	return all, err
}

// CreateIssuer records an issuer (FED-1, FED-2). One that is there already, in the configuration or the
// record, is iam.KindConflict.
func (s *Service) CreateIssuer(ctx context.Context, t TrustedIssuer) error {
	return s.changeIssuers(ctx, t.URL, func(record *issuersRecord, at int) error {
		if at >= 0 {
			return iam.Conflictf("the issuer %s is recorded already; change it with `iam issuer set`", t.URL)
		}
		if len(record.Issuers) == maxRecorded {
			return iam.Invalidf("%d issuers are recorded, and more cannot be: delete one", maxRecorded)
		}
		record.Issuers = append(record.Issuers, t)
		return s.checkIssuer(ctx, &t)
	})
}

// SetIssuer changes a recorded issuer.
func (s *Service) SetIssuer(ctx context.Context, url string, change func(*TrustedIssuer)) error {
	err := s.changeIssuers(ctx, url, func(record *issuersRecord, at int) error {
		if at < 0 {
			return noIssuer(url)
		}
		t := &record.Issuers[at]
		change(t)
		t.URL = url
		return s.checkIssuer(ctx, t)
	})
	if err != nil {
		return err
	}
	return s.DropKeySets(ctx)
}

// DeleteIssuer forgets a recorded issuer. Its assertions, and the access tokens that were had for them,
// stop counting at once.
func (s *Service) DeleteIssuer(ctx context.Context, url string) error {
	err := s.changeIssuers(ctx, url, func(record *issuersRecord, at int) error {
		if at < 0 {
			return noIssuer(url)
		}
		record.Issuers = slices.Delete(record.Issuers, at, at+1)
		return nil
	})
	if err != nil {
		return err
	}
	return s.DropKeySets(ctx)
}

// DropKeySets stops fetching the keys of issuers that are not trusted any more.
func (s *Service) DropKeySets(ctx context.Context) error {
	issuers, err := s.Issuers(ctx)
	if err != nil {
		return err
	}
	sources := make(map[string]bool, len(issuers))
	for i := range issuers {
		sources[issuers[i].source()] = true
	}
	s.KeySets.keep(sources)
	return nil
}

func noIssuer(url string) error {
	return iam.NotFoundf("there is no recorded issuer %.200q; `iam issuer list` shows them, byte for byte", url)
}

// checkIssuer checks an issuer with the service accounts that rely on it.
func (s *Service) checkIssuer(ctx context.Context, t *TrustedIssuer) error {
	if err := t.Check(); err != nil {
		return err
	}
	return s.Directory.Federated(ctx, func(a *iam.ServiceAccount) error {
		if a.Issuer != t.URL {
			return nil
		}
		if err := t.checkMapping(a.Subject, a.Claims); err != nil {
			return iam.Invalidf("the service account %s relies on this issuer: %v", a.Name, err)
		}
		return nil
	})
}

// attempts bounds how often a change is made anew because somebody else was faster.
const attempts = 12

// changeIssuers changes the record in one commit. at is where the issuer stands in it, -1 if nowhere.
func (s *Service) changeIssuers(ctx context.Context, url string, change func(record *issuersRecord, at int) error) error {
	if _, ok := s.configured[url]; ok {
		return iam.Conflictf("the issuer %s stands in the configuration; change it there", url)
	}
	for range attempts {
		r, err := s.Cache.Store().Get(ctx, s.names.issuers)
		expect := store.At(r.Version)
		if errors.Is(err, store.ErrNotFound) {
			expect, err = store.Absent(), nil
		}
		if err != nil {
			return unreachable(err)
		}
		record, err := readIssuers(r)
		if err != nil {
			return err
		}
		at := slices.IndexFunc(record.Issuers, func(t TrustedIssuer) bool { return t.URL == url })
		if err := change(&record, at); err != nil {
			return err
		}
		slices.SortFunc(record.Issuers, func(a, b TrustedIssuer) int { return cmp.Compare(a.URL, b.URL) })
		value, err := json.Marshal(record)
		if err != nil {
			return err
		}
		if len(value) > store.MaxValueBytes {
			return iam.Invalidf("the record of issuers would grow to %d bytes, and may have %d: give the addresses of key sets instead of the key sets", len(value), store.MaxValueBytes)
		}
		_, err = s.Cache.Commit(ctx, store.Write{Key: s.names.issuers, Value: value, Expect: expect})
		if !errors.Is(err, store.ErrConflict) {
			return unreachable(err)
		}
	}
	return iam.Conflictf("others kept changing the issuers: look at what they did and try again; nothing was changed")
}

// unreachable says that the store did not answer; nil stays nil, and what has a kind keeps it.
func unreachable(err error) error {
	if err == nil || iam.KindOf(err) != iam.KindInternal {
		return err
	}
	return iam.Unavailable("the gateway's store did not answer: try again shortly", err)
}
