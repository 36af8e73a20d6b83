package metrics

import (
	"maps"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	// maxSeries bounds the series of one name: three times what the gateway has reasons.
	maxSeries = 512
	// maxWord bounds a label.
	maxWord = 64
	other   = "other"
)

// words counts by up to three labels whose values are words. A series that was counted once is found
// without a lock and without allocating.
type words struct {
	vec    *prometheus.CounterVec
	labels int

	mu     sync.Mutex
	series atomic.Pointer[map[key]prometheus.Counter] // what it points to is never changed
}

type key [3]string

func newWords(name, help string, labels ...string) *words {
	w := &words{
		vec:    prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels),
		labels: len(labels),
	}
	w.series.Store(&map[key]prometheus.Counter{})
	return w
}

func (w *words) add(first, second, third string) {
	k := key{first, second, third}
	counter, ok := (*w.series.Load())[k]
	if !ok {
		counter = w.meet(k)
	}
	counter.Inc()
}

// meet returns the counter of labels that were not met before.
func (w *words) meet(k key) prometheus.Counter {
	var values key
	for i := range w.labels {
		values[i] = word(k[i])
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	series := *w.series.Load()
	if len(series) >= maxSeries {
		for i := range w.labels {
			values[i] = other
		}
		return w.vec.WithLabelValues(values[:w.labels]...)
	}
	counter := w.vec.WithLabelValues(values[:w.labels]...)
	series = maps.Clone(series)
	series[k] = counter
	w.series.Store(&series)
	return counter
}

// word returns what may stand in a label: a word as codes of the gateway are, `none` in place of nothing,
// and `other` in place of all else, which may have come from outside.
func word(s string) string {
	if s == "" {
		return "none"
	}
	if len(s) > maxWord {
		return other
	}
	for _, c := range []byte(s) {
		if c != '_' && (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return other
		}
	}
	return s
}
