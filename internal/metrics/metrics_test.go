package metrics

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// gather returns the counters and gauges of a registry by name and values of labels, and fails on what a
// registry finds wrong: inconsistent or doubled metrics.
func gather(t testing.TB, r *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]float64)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := strings.TrimPrefix(f.GetName(), namespace+"_")
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			switch {
			case m.GetCounter() != nil:
				all[name] = m.GetCounter().GetValue()
			case m.GetGauge() != nil:
				all[name] = m.GetGauge().GetValue()
			case m.GetHistogram() != nil:
				all[name+" count"] = float64(m.GetHistogram().GetSampleCount())
				all[name+" sum"] = m.GetHistogram().GetSampleSum()
				for _, b := range m.GetHistogram().GetBucket() {
					all[fmt.Sprintf("%s %g", name, b.GetUpperBound())] = float64(b.GetCumulativeCount())
				}
			}
		}
	}
	return all
}

func want(t testing.TB, got map[string]float64, want map[string]float64) {
	t.Helper()
	for name, value := range want {
		if n, ok := got[name]; !ok || math.Abs(n-value) > 1e-9 {
			t.Errorf("%s is %g, want %g", name, n, value)
		}
	}
}

func register(t testing.TB, m *Metrics) *prometheus.Registry {
	t.Helper()
	r := prometheus.NewPedanticRegistry() // Caddy's kind
	for range 2 {
		if err := m.Register(r); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

// TestMetrics: what was counted is in the registries of two configurations, one of which came later.
func TestMetrics(t *testing.T) {
	m := New(func() []Store {
		return []Store{{ContactAge: 1500 * time.Millisecond, StaleLimit: 10 * time.Second, Revision: 42, Gaps: 2, Reads: 7, Limited: map[string]uint64{"passwords": 3}}}
	})
	first := register(t, m)
	for range 3 {
		m.Request(Passed, "team_member")
	}
	m.Request(Refused, "")
	m.Exchange(Passed, "")
	m.SignIn("oidc", Refused, "not_provisioned")
	m.Lookup(Limited)
	m.Propagated(1, 3*time.Millisecond, false)
	m.Propagated(4, 700*time.Millisecond, true)
	m.Propagated(0, time.Hour, true)
	second := register(t, m)
	for _, r := range []*prometheus.Registry{first, second} {
		want(t, gather(t, r), map[string]float64{
			"requests_total passed team_member":           3,
			"requests_total refused none":                 1,
			"exchanges_total passed none":                 1,
			"sign_ins_total oidc refused not_provisioned": 1,
			"lookups_total limited":                       1,
			"store_propagation_seconds count":             5,
			"store_propagation_seconds sum":               2.803,
			"store_propagation_seconds 0.0025":            0,
			"store_propagation_seconds 0.005":             1,
			"store_propagation_seconds 1":                 5,
			"store_missed_commits_total":                  4,
			"store_contact_age_seconds":                   1.5,
			"store_stale_limit_seconds":                   10,
			"store_revision":                              42,
			"store_gaps_total":                            2,
			"store_reads_total":                           7,
			"limited_total passwords":                     3,
		})
	}
}

// TestWords: labels are words of ours, or stand for what is none, whatever is counted (V05).
func TestWords(t *testing.T) {
	for s, want := range map[string]string{
		"":                       "none",
		"team_member":            "team_member",
		"rs256":                  "rs256",
		"alice@acme.test":        "other",
		"/vision/secret":         "other",
		"Alice":                  "other",
		"a b":                    "other",
		"a\nb":                   "other",
		"\xff":                   "other",
		"ü":                      "other",
		strings.Repeat("a", 64):  strings.Repeat("a", 64),
		strings.Repeat("a", 65):  "other",
		strings.Repeat("a", 1e6): "other",
	} {
		if got := word(s); got != want {
			t.Errorf("%.40q becomes %.40q, want %q", s, got, want)
		}
	}
}

// TestSeriesAreBounded: whoever invents reasons makes no series without end, and all are counted.
func TestSeriesAreBounded(t *testing.T) {
	m := New(func() []Store { return nil })
	r := register(t, m)
	const reasons, each = 10 * maxSeries, 2
	var all sync.WaitGroup
	for range each {
		all.Go(func() {
			for i := range reasons {
				m.Request(Refused, fmt.Sprintf("reason_%d", i))
			}
		})
	}
	all.Wait()
	got := gather(t, r)
	if len(got) > maxSeries+30 {
		t.Errorf("%d series", len(got))
	}
	sum := 0.0
	for name, n := range got {
		if strings.HasPrefix(name, "requests_total") {
			sum += n
		}
	}
	if sum != reasons*each {
		t.Errorf("%g are counted, want %d; the series: %q", sum, reasons*each, slices.Sorted(maps.Keys(got)))
	}
}

// TestCountingAllocatesNothing: it stands in the way of every request.
func TestCountingAllocatesNothing(t *testing.T) {
	m := New(func() []Store { return nil })
	if n := testing.AllocsPerRun(100, func() { m.Request(Passed, "team_member") }); n != 0 {
		t.Errorf("%g allocations", n)
	}
}

func BenchmarkRequest(b *testing.B) {
	m := New(func() []Store { return nil })
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			m.Request(Passed, "team_member")
		}
	})
}

// BenchmarkScrape is with every series that there can be.
func BenchmarkScrape(b *testing.B) {
	m := New(func() []Store { return []Store{{}} })
	r := register(b, m)
	for i := range maxSeries {
		m.Request(Refused, fmt.Sprint(i))
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Gather(); err != nil {
			b.Fatal(err)
		}
	}
}
