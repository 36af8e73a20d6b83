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

// comparison holds one number of both contenders, a value for each round.
type comparison struct {
	left, right []float64
	// costly says that smaller values are better, as with CPU time and latency.
	costly bool
	// turned says that the ratio is left to right, as with CPU time.
	turned bool
}

func (c *comparison) add(left, right float64) {
	c.left, c.right = append(c.left, left), append(c.right, right)
}

func (c *comparison) ratio(left, right float64) float64 {
	if c.turned {
		left, right = right, left
	}
	if left == 0 {
		return 0
	}
	return right / left
}

// ofMedians is the ratio of the medians of all rounds.
func (c *comparison) ofMedians() float64 { return c.ratio(median(c.left), median(c.right)) }

// ofBest is the ratio of each contender's best round. Others on the machine only ever cost time, so on a
// busy one it is the steadiest.
func (c *comparison) ofBest() float64 {
	if len(c.left) == 0 {
		return 0
	}
	if c.costly {
		return c.ratio(slices.Min(c.left), slices.Min(c.right))
	}
	return c.ratio(slices.Max(c.left), slices.Max(c.right))
}

// rounds are the ratios within each round.
func (c *comparison) rounds() []float64 {
	ratios := make([]float64, len(c.left))
	for i := range ratios {
		ratios[i] = c.ratio(c.left[i], c.right[i])
	}
	return ratios
}
