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

// rows are the lines of a pair.
func (r *result) rows() []row {
	if r.open {
		return []row{
			{r.name, "p50 µs", "%.0f", &r.p50, bound("≤", r.p50Target)},
			{r.name, "p99 µs", "%.0f", &r.p99, bound("≤", r.p99Target)},
			{r.name, "CPU µs/request", "%.1f", &r.cpu, ""},
		}
	}
	target := bound("≥", r.target)
	return []row{
		{r.name, "requests/s", "%.0f", &r.throughput, target},
		{r.name, "CPU µs/request", "%.1f", &r.cpu, target},
		{r.name, "p50 µs", "%.0f", &r.p50, ""},
		{r.name, "p99 µs", "%.0f", &r.p99, ""},
		{r.name, "allocations/request", "%.0f", &r.allocations, ""},
		{r.name, "bytes allocated/request", "%.0f", &r.allocated, ""},
	}
}

// bound says a target; nothing for 0.
func bound(sign string, target float64) string {
	if target == 0 {
		return ""
	}
	return fmt.Sprintf("%s %.2f", sign, target)
}

// printTables prints the results; those of the same two contenders share a table.
func printTables(w io.Writer, results []result) {
	for i := range results {
		r := &results[i]
		if i == 0 || results[i-1].left.name != r.left.name || results[i-1].right.name != r.right.name {
			printHeader(w, r.left.name, r.right.name)
		}
		printRows(w, r.rows())
		if i == len(results)-1 || results[i+1].left.name != r.left.name || results[i+1].right.name != r.right.name {
			fmt.Fprintln(w)
		}
	}
}

func printHeader(w io.Writer, left, right string) {
	fmt.Fprintf(w, "| work | measure | %s | %s | ratio of medians | of the best rounds | median of the rounds' ratios | their range | target |\n", left, right)
	fmt.Fprintln(w, "|---|---|--:|--:|--:|--:|--:|--:|--:|")
}

func printRows(w io.Writer, rows []row) {
	for _, r := range rows {
		ratios := r.values.rounds()
		fmt.Fprintf(w, "| %s | %s | "+r.format+" | "+r.format+" | %.2f | %.2f | %.2f | %.2f–%.2f | %s |\n",
			r.work, r.measure, median(r.values.left), median(r.values.right),
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
		if !r.open {
			parts = append(parts, fmt.Sprintf("%s, %s %.0f %% and %s %.0f %%", r.name,
				r.left.name, 100*median(r.busy.left), r.right.name, 100*median(r.busy.right)))
		}
	}
	if len(parts) == 0 {
		return
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
