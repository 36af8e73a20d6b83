package main

import (
	"os"
	"testing"
	"time"
)

// The real files: a busy loop of 30 ms is seen, and this process has memory.
func TestProcOfThisProcess(t *testing.T) {
	before, err := cpuTime(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for sum, start := 0, before; ; sum++ {
		now, err := cpuTime(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		if now-start >= 30*time.Millisecond {
			break // the CPU time that this loop uses is seen, or the test does not end
		}
	}
	m, err := memoryOf(os.Getpid())
	if err != nil || m.resident < 1<<20 || m.anonymous > m.resident {
		t.Errorf("memory %+v, %v", m, err)
	}
	if _, err := cpuTime(1 << 30); err == nil {
		t.Error("CPU time of a process that does not exist")
	}
}
