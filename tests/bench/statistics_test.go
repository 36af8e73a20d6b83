package main

import (
	"slices"
	"testing"
	"time"
)

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		name   string
		values []float64
		want   float64
	}{
		{"nothing", nil, 0},
		{"one", []float64{3}, 3},
		{"odd, unsorted", []float64{9, 1, 5}, 5},
		{"even, unsorted", []float64{8, 2, 4, 6}, 5},
	} {
		before := slices.Clone(c.values)
		if got := median(c.values); got != c.want {
			t.Errorf("%s: median is %v, want %v", c.name, got, c.want)
		}
		if !slices.Equal(before, c.values) {
			t.Errorf("%s: the values were sorted in place", c.name)
		}
	}
}

func TestPercentile(t *testing.T) {
	hundred := make([]time.Duration, 100)
	for i := range hundred {
		hundred[i] = time.Duration(i + 1)
	}
	for _, c := range []struct {
		name   string
		sorted []time.Duration
		p      int
		want   time.Duration
	}{
		{"nothing", nil, 50, 0},
		{"one", []time.Duration{7}, 99, 7},
		{"half of a hundred", hundred, 50, 50},
		{"99 of a hundred", hundred, 99, 99},
		{"all of a hundred", hundred, 100, 100},
		{"none of a hundred", hundred, 0, 1},
		{"99 of two", []time.Duration{1, 2}, 99, 2},
		{"half of three", []time.Duration{1, 2, 3}, 50, 2},
	} {
		if got := percentile(c.sorted, c.p); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

func TestComparison(t *testing.T) {
	// The machine was twice as fast in the second round, which the ratio within a round does not see.
	throughput := comparison{}
	throughput.add(100, 90)
	throughput.add(200, 180)
	throughput.add(100, 50)
	if got, want := throughput.rounds(), []float64{0.9, 0.9, 0.5}; !slices.Equal(got, want) {
		t.Errorf("ratios of throughput %v, want %v", got, want)
	}
	if got := throughput.ofMedians(); got != 0.9 {
		t.Errorf("ratio of medians %v, want 0.9", got)
	}
	if got := throughput.ofBest(); got != 0.9 {
		t.Errorf("ratio of the best rounds %v, want 0.9", got)
	}
	cpu := comparison{costly: true, turned: true}
	cpu.add(80, 100)
	if got := cpu.ofMedians(); got != 0.8 {
		t.Errorf("more CPU time must be a ratio below 1: %v, want 0.8", got)
	}
	cpu.add(160, 160)
	if got := cpu.ofBest(); got != 0.8 {
		t.Errorf("the best rounds are those of least CPU time: ratio %v, want 0.8", got)
	}
	if got := new(comparison).ofBest(); got != 0 {
		t.Errorf("the best of nothing is %v, want 0", got)
	}
	latency := comparison{costly: true}
	latency.add(100, 110)
	if got := latency.ofBest(); got != 1.1 {
		t.Errorf("ratio of latencies is not turned: %v, want 1.1", got)
	}
	if got := (&comparison{left: []float64{0}, right: []float64{1}}).ofMedians(); got != 0 {
		t.Errorf("a ratio to nothing is %v, want 0", got)
	}
}
