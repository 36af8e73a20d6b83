package main

import (
	"slices"
	"time"
)

// median returns the middle value, or the mean of the two in the middle; 0 of nothing.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// percentile returns the smallest value that at least p percent of the sorted values do not
// exceed (nearest rank); 0 of nothing.
func percentile(sorted []time.Duration, p int) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	rank := (len(sorted)*p + 99) / 100
	return sorted[min(max(rank, 1), len(sorted))-1]
}

// comparison holds one number of both sides, a value for each round.
type comparison struct {
	plain, gateway []float64
	// costly says that smaller values are better, as with CPU time and latency.
	costly bool
	// turned says that the ratio is plain to gateway, as with CPU time.
	turned bool
}

func (c *comparison) add(plain, gateway float64) {
	c.plain, c.gateway = append(c.plain, plain), append(c.gateway, gateway)
}

func (c *comparison) ratio(plain, gateway float64) float64 {
	if c.turned {
		plain, gateway = gateway, plain
	}
	if plain == 0 {
		return 0
	}
	return gateway / plain
}

// ofMedians is the ratio of the medians of all rounds.
func (c *comparison) ofMedians() float64 { return c.ratio(median(c.plain), median(c.gateway)) }

// ofBest is the ratio of each side's best round. Others on the machine only ever cost time, so on a
// busy one it is the steadiest.
func (c *comparison) ofBest() float64 {
	if len(c.plain) == 0 {
		return 0
	}
	if c.costly {
		return c.ratio(slices.Min(c.plain), slices.Min(c.gateway))
	}
	return c.ratio(slices.Max(c.plain), slices.Max(c.gateway))
}

// rounds are the ratios within each round.
func (c *comparison) rounds() []float64 {
	ratios := make([]float64, len(c.plain))
	for i := range ratios {
		ratios[i] = c.ratio(c.plain[i], c.gateway[i])
	}
	return ratios
}
