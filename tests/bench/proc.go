package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// cpuTime returns the CPU time, user and system, that all threads of a process have used. The
// scheduler's own count is in nanoseconds, but lacks threads that have ended (Go's stay); kernels
// without it have a count in ticks of 10 ms.
func cpuTime(pid int) (time.Duration, error) {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil {
		return 0, err
	}
	var total time.Duration
	for _, name := range tasks {
		text, err := os.ReadFile(name)
		if err != nil {
			return 0, fmt.Errorf("reading CPU time: %w", err)
		}
		d, err := parseSchedstat(text)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", name, err)
		}
		total += d
	}
	if total > 0 {
		return total, nil
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("reading CPU time: %w", err)
	}
	return parseStat(text)
}

// parseSchedstat reads /proc/PID/schedstat (proc_pid_schedstat, sched-stats): the first of three
// numbers is nanoseconds on a CPU.
func parseSchedstat(text []byte) (time.Duration, error) {
	fields := bytes.Fields(text)
	if len(fields) != 3 {
		return 0, fmt.Errorf("%q is not three numbers", text)
	}
	ns, err := strconv.ParseInt(string(fields[0]), 10, 64)
	return time.Duration(ns), err
}

// tick is the unit of times in /proc/PID/stat: USER_HZ is 100 on every Linux that Go runs on.
const tick = time.Second / 100

// parseStat reads utime and stime, fields 14 and 15 of /proc/PID/stat (proc_pid_stat(5)). The second
// field is the command's name in brackets, which may itself hold blanks and brackets.
func parseStat(text []byte) (time.Duration, error) {
	_, rest, found := bytes.Cut(text, []byte("("))
	end := bytes.LastIndexByte(rest, ')')
	if !found || end < 0 {
		return 0, fmt.Errorf("%q has no command name in brackets", text)
	}
	fields := bytes.Fields(rest[end+1:]) // from field 3 on
	if len(fields) < 13 {
		return 0, fmt.Errorf("%q is too short", text)
	}
	user, err := strconv.ParseInt(string(fields[11]), 10, 64)
	if err != nil {
		return 0, err
	}
	system, err := strconv.ParseInt(string(fields[12]), 10, 64)
	return time.Duration(user+system) * tick, err
}

// memory is what a process holds of the machine's memory, in bytes.
type memory struct {
	resident  int64 // VmRSS
	anonymous int64 // RssAnon: without pages of files, such as the binary and the store's
}

func memoryOf(pid int) (memory, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return memory{}, fmt.Errorf("reading memory: %w", err)
	}
	return parseStatus(string(text))
}

// parseStatus reads VmRSS and RssAnon from /proc/PID/status (proc_pid_status(5)), where they stand
// in units of 1024 bytes.
func parseStatus(text string) (memory, error) {
	var m memory
	into := map[string]*int64{"VmRSS": &m.resident, "RssAnon": &m.anonymous}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(line, ":")
		field := into[name]
		if field == nil {
			continue
		}
		number, unit, _ := strings.Cut(strings.TrimSpace(value), " ")
		n, err := strconv.ParseInt(number, 10, 64)
		if err != nil || unit != "kB" {
			return memory{}, fmt.Errorf("%q is not a number of kB", strings.TrimSpace(line))
		}
		*field = n << 10
		delete(into, name)
	}
	if len(into) > 0 {
		return memory{}, fmt.Errorf("the status lacks VmRSS or RssAnon")
	}
	return m, nil
}
