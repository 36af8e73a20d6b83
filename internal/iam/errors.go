package iam

import (
	"errors"
	"fmt"
	"time"
)

// Kind sorts errors by what the caller can do about them. Unknown errors are KindInternal: their
// text stays inside.
type Kind uint8

// The kinds.
const (
	KindInternal        Kind = iota // our fault; says nothing outside
	KindInvalid                     // the request or file is wrong
	KindUnauthenticated             // no such credential, or one that no longer counts
	KindDenied                      // known, and may not
	KindNotFound                    // nothing there, or nothing that the caller may know of
	KindConflict                    // somebody else changed it, or the name is taken
	KindUnavailable                 // a dependency did not answer: neither yes nor no
	KindTooLarge                    // over a stated bound
	KindTooMany                     // over a stated rate
)

// Reason is a stable code for why something was decided, the same in answers, logs, audit and
// tests: lower-case words joined by underscores.
type Reason string

// Error is an error that can be told to the caller: what happened, why, and what to do.
type Error struct {
	Kind Kind
	// Reason is the stable code; may be empty.
	Reason Reason
	// Message is for the caller: a sentence that names cause and remedy, without secrets.
	Message string
	// RetryAfter is how long to wait before KindUnavailable or KindTooMany is tried again; zero leaves
	// it to whoever answers.
	RetryAfter time.Duration
	// Err is the cause, for logs only.
	Err error
}

// Error implements error.
func (e *Error) Error() string {
	switch {
	case e.Err == nil:
		return e.Message
	case e.Message == "":
		return e.Err.Error()
	}
	return e.Message + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// KindOf returns the kind of err: KindInternal unless an Error in its chain says otherwise.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return KindInternal
}

// ReasonOf returns the reason code in err's chain; "" if there is none.
func ReasonOf(err error) Reason {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Reason
	}
	return ""
}

// Invalidf returns an error of KindInvalid.
func Invalidf(format string, args ...any) error {
	return &Error{Kind: KindInvalid, Reason: "invalid", Message: fmt.Sprintf(format, args...)}
}

// NotFoundf returns an error of KindNotFound.
func NotFoundf(format string, args ...any) error {
	return &Error{Kind: KindNotFound, Reason: "not_found", Message: fmt.Sprintf(format, args...)}
}

// Conflictf returns an error of KindConflict.
func Conflictf(format string, args ...any) error {
	return &Error{Kind: KindConflict, Reason: "conflict", Message: fmt.Sprintf(format, args...)}
}

// Unavailable returns an error of KindUnavailable: message says which part did not answer, err is
// the cause for the log.
func Unavailable(message string, err error) error {
	return &Error{Kind: KindUnavailable, Reason: "unavailable", Message: message, Err: err}
}
