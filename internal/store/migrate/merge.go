package migrate

import (
	"bytes"
	"context"
	"fmt"

	"github.com/wandb-gateway/wandb-gateway/internal/store"
)

// merge goes through both sides at once, in the order of keys, and calls f with each key's record on
// either side, nil where there is none.
func (m *Move) merge(ctx context.Context, from, to *pages, f func(from, to *store.Record) error) error {
	for {
		a, err := from.first(ctx)
		if err != nil {
			return m.about(m.FromName, err)
		}
		b, err := to.first(ctx)
		if err != nil {
			return m.about(m.ToName, err)
		}
		switch {
		case a == nil && b == nil:
			return nil
		case a == nil, b != nil && b.Key < a.Key:
			a = nil
		case b == nil, a.Key < b.Key:
			b = nil
		}
		if err := f(a, b); err != nil {
			return err
		}
		if a != nil {
			from.pass()
		}
		if b != nil {
			to.pass()
		}
	}
}

// reportEvery is how many records pass between two reports.
const reportEvery = 1000

// copy writes to the target what it lacks, and deletes what it has too much: an earlier move may have
// copied what the source does not hold any more.
func (m *Move) copy(ctx context.Context, t *target) error {
	from, to := newPages(m.From, m.Space), newPages(m.To, m.Space)
	err := m.merge(ctx, from, to, func(a, b *store.Record) error {
		if a != nil && (from.records+1)%reportEvery == 0 {
			m.report(Copying, from.records+1)
		}
		var err error
		switch {
		case a == nil:
			err = t.write(ctx, store.Write{Key: b.Key})
		case b == nil || !bytes.Equal(a.Value, b.Value):
			err = t.write(ctx, store.Write{Key: a.Key, Value: present(a.Value)})
		}
		if err != nil {
			return m.about(m.ToName, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := t.flush(ctx); err != nil {
		return m.about(m.ToName, err)
	}
	m.report(Copying, from.records)
	return nil
}

// present is a value that is there, if empty: nil deletes.
func present(value []byte) []byte {
	if value == nil {
		return []byte{}
	}
	return value
}

// differences counts what is not the same on both sides. As an error it means that there is some.
type differences struct{ missing, other, extra int }

// Error implements error.
func (d differences) Error() string {
	return fmt.Sprintf("%d records are missing, %d differ, %d are too many", d.missing, d.other, d.extra)
}

// compare reads both sides again. It returns differences if they are not the same, byte for byte.
func (m *Move) compare(ctx context.Context) (Result, error) {
	from, to := newPages(m.From, m.Space), newPages(m.To, m.Space)
	var d differences
	err := m.merge(ctx, from, to, func(a, b *store.Record) error {
		switch {
		case b == nil:
			d.missing++
		case a == nil:
			d.extra++
		case !bytes.Equal(a.Value, b.Value):
			d.other++
		}
		if a != nil && (from.records+1)%reportEvery == 0 {
			m.report(Comparing, from.records+1)
		}
		return nil
	})
	if err != nil {
		return Result{}, err
	}
	result := from.result()
	if d == (differences{}) && result != to.result() {
		d.other++ // cannot be; the sums are an answer of their own
	}
	if d != (differences{}) {
		return Result{}, d
	}
	return result, nil
}
