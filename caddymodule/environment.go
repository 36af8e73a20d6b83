package caddymodule

import (
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// environment reads W&B's own variables, so that an operator can move a server's environment over as it
// is. They win over the file; an empty one is unset. Some have more than one spelling, which must not
// contradict each other (design sections 6 and 7).
type environment struct {
	// getenv is os.Getenv but in tests.
	getenv func(string) string
	// from says which variable each setting came from.
	from map[string]string
	// switches are the values of those that are on or off, which the log may show.
	switches map[string]bool
	// variables are all that were looked for, set or not.
	variables map[string]bool
}

func newEnvironment() *environment {
	return &environment{os.Getenv, make(map[string]string), make(map[string]bool), make(map[string]bool)}
}

// read gives a setting the value of the first variable that is set, read by parse, and nothing if none
// is. Errors name the variable, never its value, which may be a secret in the wrong place.
func read[T comparable](e *environment, setting string, into *T, parse func(string) (T, error), names ...string) error {
	found := ""
	for _, name := range names {
		e.variables[name] = true
		text := strings.TrimSpace(e.getenv(name))
		if text == "" {
			continue
		}
		value, err := parse(text)
		switch {
		case err != nil:
			return iam.Invalidf("the variable %s is wrong: %v", name, err)
		case found != "" && value != *into:
			return differ(found, name)
		case found == "":
			found, *into = name, value
		}
	}
	if found == "" {
		return nil
	}
	e.from[setting] = found
	if on, ok := any(*into).(bool); ok {
		e.switches[setting] = on
	}
	return nil
}

func differ(first, second string) error {
	return iam.Invalidf("the variables %s and %s are spellings of one setting and differ; keep one", first, second)
}

// source says where a setting came from: a variable, the file, or nowhere.
func (e *environment) source(setting string, inFile bool) string {
	switch {
	case e.from[setting] != "":
		return e.from[setting]
	case inFile:
		return "file"
	}
	return "default"
}

func asText(s string) (string, error) { return s, nil }

func asSwitch(s string) (bool, error) {
	on, err := strconv.ParseBool(s)
	if err != nil {
		return false, iam.Invalidf("it is neither true nor false")
	}
	return on, nil
}

// asOff reads a variable that switches something off.
func asOff(s string) (bool, error) {
	off, err := asSwitch(s)
	return !off, err
}

// asHours reads SESSION_LENGTH: a whole number of hours (ENV-2).
func asHours(s string) (time.Duration, error) {
	hours, err := strconv.ParseUint(s, 10, 32)
	if err != nil || hours == 0 || hours > maxHours {
		return 0, iam.Invalidf("it is not a whole number of hours, such as 720")
	}
	return time.Duration(hours) * time.Hour, nil
}

// maxHours is a hundred years, below where a duration ends.
const maxHours = 876_000

// asDuration reads GORILLA_SESSION_LENGTH: a duration as Go writes it.
func asDuration(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil || d <= 0 {
		return 0, iam.Invalidf("it is not a duration such as 720h")
	}
	return d, nil
}

// asHost reads HOST: the address under which people know the server, of which the host counts.
func asHost(s string) (string, error) {
	if !strings.Contains(s, "://") {
		s = "https://" + s
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil || u.Scheme != "https" && u.Scheme != "http" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
		return "", iam.Invalidf("it is not an address such as https://wandb.example.com")
	}
	return strings.ToLower(u.Host), nil
}

// fields splits a list at commas and blanks.
func fields(s string) []string {
	return slices.DeleteFunc(strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' }), func(s string) bool { return s == "" })
}
