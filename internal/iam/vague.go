package iam

import "strings"

// vagueWords are the words of names that say nothing of what a service account is for.
var vagueWords = map[string]bool{
	"account": true, "bot": true, "foo": true, "key": true, "new": true, "robot": true, "sa": true, "service": true,
	"serviceaccount": true, "temp": true, "test": true, "tmp": true, "user": true,
}

// VagueName reports whether the name of a service account says nothing of what it is for, such as
// service-account-1, test-sa or temp (BP-5). It is good for a warning, not for a refusal.
func VagueName(name string) bool {
	for _, word := range strings.FieldsFunc(FoldName(name), func(r rune) bool { return r < 'a' || r > 'z' }) {
		if !vagueWords[word] {
			return false
		}
	}
	return true
}
