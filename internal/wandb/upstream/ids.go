package upstream

import (
	"strings"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// Ids of what the server knows. The part after the prefix comes from the server, escaped so that
// different ids stay different. A local id has 20 hexadecimal digits there and never begins with
// "up:", so the two kinds cannot meet.
const (
	userPrefix           = "usr_up:"
	serviceAccountPrefix = "sa_up:"
	teamPrefix           = "team_up:"
	projectPrefix        = "prj_up:"
)

// TeamID returns the id of the server's team with that name. Entity names are unique at the server.
// Upper and lower case count: whether two spellings are one team, the server says.
func TeamID(name string) iam.TeamID { return iam.TeamID(teamPrefix + escape(name)) }

// userID returns the id of a person by the server's own id.
func userID(id string) iam.UserID { return iam.UserID(userPrefix + escape(id)) }

// userIDByName stands in where the server tells only the name. The @ is escaped in ids, so it
// cannot be mistaken for one.
func userIDByName(name string) iam.UserID { return iam.UserID(userPrefix + "@" + escape(name)) }

// hiddenEntityID names a personal entity as one that belongs to nobody who asks: neither an id nor a
// name begins with an unescaped colon.
func hiddenEntityID(name string) iam.EntityID { return iam.EntityID(userPrefix + ":" + escape(name)) }

// projectID returns the id of a project by the names that lead to it, which is what the server
// judges by. The colon between them is escaped within them.
func projectID(entity, project string) iam.ProjectID {
	return iam.ProjectID(projectPrefix + escape(entity) + ":" + escape(project))
}

const hexDigits = "0123456789abcdef"

// escape keeps letters, digits and . _ - + / = (base64, names) and writes every other byte as %xx.
func escape(s string) string {
	if plain(s) {
		return s
	}
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; plainByte(c) {
			b.WriteByte(c)
		} else {
			b.WriteByte('%')
			b.WriteByte(hexDigits[c>>4])
			b.WriteByte(hexDigits[c&15])
		}
	}
	return b.String()
}

func plain(s string) bool {
	for i := range len(s) {
		if !plainByte(s[i]) {
			return false
		}
	}
	return true
}

func plainByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("._-+/=", c) >= 0
}
