// Package metrics is what the gateway counts of itself, in Prometheus' form. It is the only code that
// knows Prometheus.
//
// What is counted belongs to the process, so that counts go on when a configuration is replaced; every
// configuration has a registry of its own, into which the one Metrics is registered. No label says who,
// with what or where: labels are words of the gateway's own, in bounded number (threats V05).
package metrics

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// namespace begins all names.
const namespace = "wandb_gateway"

// Metrics is what one process counts. Its methods may be called from many goroutines, and those that
// count requests allocate nothing.
type Metrics struct {
	requests  *words
	exchanges *words
	signIns   *words
	lookups   *words

	propagation prometheus.Histogram
	missed      prometheus.Counter

	read func() []Store
}

// Store is what a store in use tells when it is asked.
type Store struct {
	// Revision is the revision up to which every change is taken into account.
	Revision uint64
	// ContactAge is how long ago it was last certain that no change was missed; beyond StaleLimit nothing
	// is answered from what was read before.
	ContactAge, StaleLimit time.Duration
	// Gaps counts how often changes may have been missed, Reads the records that were read.
	Gaps, Reads uint64
	// Limited counts what was refused because of too many failures, by the name of the limit.
	Limited map[string]uint64
}

// buckets are those of the time that a commit takes to hold: milliseconds as a rule, a second as the
// promise, and up to the largest stale limit.
var buckets = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}

// New returns Metrics that ask read for the stores in use, whenever they are scraped.
func New(read func() []Store) *Metrics {
	return &Metrics{
		requests: newWords("requests_total",
			"Requests, by what the gateway did with them and why.", "outcome", "reason"),
		exchanges: newWords("exchanges_total",
			"Assertions that were to be exchanged for access tokens, by what came of it.", "outcome", "reason"),
		signIns: newWords("sign_ins_total",
			"Sign-ins at a browser that ended, by what came of it.", "method", "outcome", "reason"),
		lookups: newWords("lookups_total",
			"Questions to the W&B server that is the record, by what came of it.", "outcome"),
		propagation: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: namespace, Name: "store_propagation_seconds", Buckets: buckets,
			Help: "From a commit at any gateway until it holds at this one. Each commit counts once, also if it was found late; what is not known of its time counts at most.",
		}),
		missed: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: namespace, Name: "store_missed_commits_total",
			Help: "Commits of which no message told, and which were found by asking the store.",
		}),
		read: read,
	}
}

// Register adds the metrics to a registry. Once is enough; twice is no error.
func (m *Metrics) Register(r prometheus.Registerer) error {
	err := r.Register(m)
	if _, twice := errors.AsType[prometheus.AlreadyRegisteredError](err); twice {
		return nil
	}
	return err
}

// Outcome says what came of something.
type Outcome string

// The outcomes.
const (
	Passed      Outcome = "passed"      // what was asked for was done
	Refused     Outcome = "refused"     // by the rules, or because it was malformed
	Shadowed    Outcome = "shadowed"    // would have been refused if anything were enforced
	Unavailable Outcome = "unavailable" // nobody could tell
	Redirected  Outcome = "redirected"  // to sign-in
	Unanswered  Outcome = "unanswered"  // passed, and the server behind did not answer
	Limited     Outcome = "limited"     // too much at once
	Abandoned   Outcome = "abandoned"   // nobody waited for it any longer
)

// Request counts a request.
func (m *Metrics) Request(o Outcome, reason string) { m.requests.add(string(o), reason, "") }

// Exchange counts an attempt to exchange an assertion.
func (m *Metrics) Exchange(o Outcome, reason string) { m.exchanges.add(string(o), reason, "") }

// SignIn counts an attempt to sign in.
func (m *Metrics) SignIn(method string, o Outcome, reason string) {
	m.signIns.add(method, string(o), reason)
}

// Lookup counts a question to the server that is the record.
func (m *Metrics) Lookup(o Outcome) { m.lookups.add(string(o), "", "") }

// maxObserved bounds how many commits of one time are observed one by one: far more than are missed while
// a cache is in use, and 3 ms of work.
const maxObserved = 1 << 16

// Propagated counts commits that hold at this node, so long after they were made.
func (m *Metrics) Propagated(commits uint64, took time.Duration, missed bool) {
	if missed {
		m.missed.Add(float64(commits))
	}
	for range min(commits, maxObserved) {
		m.propagation.Observe(took.Seconds())
	}
}

var (
	contactAge = describe("store_contact_age_seconds", "How long ago it was last certain that no change of the store was missed.")
	staleLimit = describe("store_stale_limit_seconds", "The contact age beyond which requests are answered with 503.")
	revision   = describe("store_revision", "Revision of the store up to which every change is taken into account.")
	gaps       = describe("store_gaps_total", "How often changes may have been missed, and everything cached was dropped.")
	reads      = describe("store_reads_total", "Records that were read from the store, because they were not cached.")
	limited    = describe("limited_total", "Attempts that were refused because of too many failures before, by limit.", "limit")
)

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(namespace+"_"+name, help, labels, nil)
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(to chan<- *prometheus.Desc) {
	for _, w := range m.words() {
		w.vec.Describe(to)
	}
	m.propagation.Describe(to)
	m.missed.Describe(to)
	for _, d := range []*prometheus.Desc{contactAge, staleLimit, revision, gaps, reads, limited} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(to chan<- prometheus.Metric) {
	for _, w := range m.words() {
		w.vec.Collect(to)
	}
	m.propagation.Collect(to)
	m.missed.Collect(to)
	for _, s := range m.read() {
		to <- prometheus.MustNewConstMetric(contactAge, prometheus.GaugeValue, s.ContactAge.Seconds())
		to <- prometheus.MustNewConstMetric(staleLimit, prometheus.GaugeValue, s.StaleLimit.Seconds())
		to <- prometheus.MustNewConstMetric(revision, prometheus.GaugeValue, float64(s.Revision))
		to <- prometheus.MustNewConstMetric(gaps, prometheus.CounterValue, float64(s.Gaps))
		to <- prometheus.MustNewConstMetric(reads, prometheus.CounterValue, float64(s.Reads))
		for limit, n := range s.Limited {
			to <- prometheus.MustNewConstMetric(limited, prometheus.CounterValue, float64(n), word(limit))
		}
	}
}

func (m *Metrics) words() []*words {
	return []*words{m.requests, m.exchanges, m.signIns, m.lookups}
}
