package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
)

// row is one line of the report.
type row struct {
	work, measure string
	format        string // of one value
	values        *comparison
	target        string
}

// rows are the lines of a work load under the closed loop.
func (r *result) rows() []row {
	target := fmt.Sprintf("≥ %.2f", r.target)
	return []row{
		{r.name, "requests/s", "%.0f", &r.throughput, target},
		{r.name, "CPU µs/request", "%.1f", &r.cpu, target},
		{r.name, "p50 µs", "%.0f", &r.p50, ""},
		{r.name, "p99 µs", "%.0f", &r.p99, ""},
		{r.name, "allocations/request", "%.0f", &r.allocations, ""},
		{r.name, "bytes allocated/request", "%.0f", &r.allocated, ""},
	}
}

// openLoopRows are the lines of a work load under the open loop.
func (r *result) openLoopRows(rate int) []row {
	work := fmt.Sprintf("%s at %d requests/s", r.name, rate)
	return []row{
		{work, "p50 µs", "%.0f", &r.p50, "≤ 1.05"},
		{work, "p99 µs", "%.0f", &r.p99, ""},
		{work, "CPU µs/request", "%.1f", &r.cpu, ""},
	}
}

func printTable(w io.Writer, left, right string, rows []row) {
	fmt.Fprintf(w, "| work | measure | %s | %s | ratio of medians | of the best rounds | median of the rounds' ratios | their range | target |\n", left, right)
	fmt.Fprintln(w, "|---|---|--:|--:|--:|--:|--:|--:|--:|")
	for _, r := range rows {
		ratios := r.values.rounds()
		fmt.Fprintf(w, "| %s | %s | "+r.format+" | "+r.format+" | %.2f | %.2f | %.2f | %.2f–%.2f | %s |\n",
			r.work, r.measure, median(r.values.plain), median(r.values.gateway),
			r.values.ofMedians(), r.values.ofBest(), median(ratios), slices.Min(ratios), slices.Max(ratios), r.target)
	}
}

// memories are the two sides' memory at one moment.
type memories struct {
	when           string
	plain, gateway memory
	target         string
}

func printMemory(w io.Writer, left, right string, moments []memories) {
	fmt.Fprintf(w, "| resident memory, MB | %s | %s | difference | without pages of files | target |\n", left, right)
	fmt.Fprintln(w, "|---|--:|--:|--:|--:|--:|")
	for _, m := range moments {
		fmt.Fprintf(w, "| %s | %.1f | %.1f | %+.1f | %+.1f | %s |\n", m.when,
			megabytes(m.plain.resident), megabytes(m.gateway.resident),
			megabytes(m.gateway.resident-m.plain.resident), megabytes(m.gateway.anonymous-m.plain.anonymous), m.target)
	}
}

func megabytes(n int64) float64 { return float64(n) / 1e6 }

// printBusy tells whether the proxy was what limited the throughput. Where it was not, only CPU time
// compares the sides.
func printBusy(w io.Writer, results []result) {
	var parts []string
	for _, r := range results {
		parts = append(parts, fmt.Sprintf("%s %.0f %% and %.0f %%", r.name, 100*median(r.busy.plain), 100*median(r.busy.gateway)))
	}
	fmt.Fprintf(w, "The proxies were on their core for this share of the time: %s.\n", strings.Join(parts, "; "))
}

// printMachine names what was measured on. What it cannot read it leaves out.
func printMachine(w io.Writer) {
	cpu := "an unnamed CPU"
	info, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(info)) {
		if name, value, found := strings.Cut(line, ":"); found && strings.TrimSpace(name) == "model name" {
			cpu = strings.TrimSpace(value)
			break
		}
	}
	release, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	load, _ := os.ReadFile("/proc/loadavg")
	fmt.Fprintf(w, "%s, Linux %s, %s; load average at the end %s.\n",
		cpu, strings.TrimSpace(string(release)), runtime.Version(), strings.Join(strings.Fields(string(load))[:min(3, len(strings.Fields(string(load))))], " "))
}
