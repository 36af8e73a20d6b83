package main

import (
	"strings"
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	const rest = " S 1 2 3 4 5 6 7 8 9 10 250 125 13 14 20 0 5 0 100"
	for name, text := range map[string]string{
		"plain name":             "42 (caddy)" + rest,
		"name of words":          "42 (my caddy)" + rest,
		"name with a bracket":    "42 (caddy) R 1 (x)" + rest,
		"name that is a bracket": "42 ())" + rest,
	} {
		got, err := parseStat([]byte(text))
		if err != nil || got != 3750*time.Millisecond {
			t.Errorf("%s: %v, %v; want 3.75s", name, got, err)
		}
	}
	for name, text := range map[string]string{
		"empty":         "",
		"no name":       "42 caddy S 1",
		"open bracket":  "42 (caddy S 1",
		"too short":     "42 (caddy) S 1 2 3",
		"not a number":  strings.Replace("42 (caddy)"+rest, "250", "many", 1),
		"no number two": strings.Replace("42 (caddy)"+rest, "125", "some", 1),
	} {
		if got, err := parseStat([]byte(text)); err == nil {
			t.Errorf("%s: %v without an error", name, got)
		}
	}
}

func TestParseSchedstat(t *testing.T) {
	got, err := parseSchedstat([]byte("889983 12 1\n"))
	if err != nil || got != 889983 {
		t.Errorf("%v, %v; want 889.983µs", got, err)
	}
	for name, text := range map[string]string{"empty": "", "two numbers": "1 2", "not a number": "x 1 2"} {
		if got, err := parseSchedstat([]byte(text)); err == nil {
			t.Errorf("%s: %v without an error", name, got)
		}
	}
}

func TestParseStatus(t *testing.T) {
	got, err := parseStatus("Name:\tcaddy\nVmHWM:\t   70000 kB\nVmRSS:\t   54000 kB\nRssAnon:\t   20000 kB\nRssFile:\t   34000 kB\n")
	if want := (memory{resident: 54000 << 10, anonymous: 20000 << 10}); err != nil || got != want {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	for name, text := range map[string]string{
		"a kernel thread, without memory": "Name:\tkthreadd\n",
		"half":                            "VmRSS:\t1 kB\n",
		"another unit":                    "VmRSS:\t1 MB\nRssAnon:\t1 kB\n",
		"not a number":                    "VmRSS:\tmuch kB\nRssAnon:\t1 kB\n",
	} {
		if got, err := parseStatus(text); err == nil {
			t.Errorf("%s: %+v without an error", name, got)
		}
	}
}
