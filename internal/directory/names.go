package directory

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"

	"github.com/wandb-gateway/wandb-gateway/authz"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// names builds the keys of records. Names of teams, people and service accounts are ASCII without
// slashes (iam.ValidName), ids and project names have no slashes either, so keys are unambiguous.
type names struct {
	space  string // "<space>/"
	key    string // "<space>/key/"
	entity string
	roles  string
	admins string
	// organization holds what is chosen for all teams, and autoJoin which of them newcomers join.
	organization, autoJoin string
	// upstream stands before an owner's id: "<space>/upstream_key/".
	upstream string
	// handoverAll stands before all keys that wait for whoever made them.
	handoverAll string
	// principal stands before a principal's id in the key of what is derived from its records. It
	// tells settings and the organization's name apart, on which principals depend, because the cache
	// outlives a reload of the configuration; by default it is empty, so that the id serves as key as
	// it is.
	principal string
	owner     string // the same before the hash of an API key, for who owns it
	target    string
}

func newNames(space, organization string, settings authz.Settings) names {
	principal := ""
	if organization != space {
		principal = "of/" + organization + "/"
	}
	space += "/"
	if settings.DisablePersonalEntity {
		principal += "impersonal/"
	}
	return names{
		space:  space,
		key:    space + "key/",
		entity: space + "entity/",
		roles:  space + "roles",
		admins: space + "admins",

		organization: space + "organization",
		autoJoin:     space + "auto_join",

		upstream: space + "upstream_key/",

		handoverAll: space + "handover/",
		principal:   principal,
		owner:       principal + "key/",
		target:      "target/",
	}
}

func (n *names) user(id iam.UserID) string                     { return n.space + "user/" + string(id) }
func (n *names) team(id iam.TeamID) string                     { return n.space + "team/" + string(id) }
func (n *names) serviceAccount(id iam.ServiceAccountID) string { return n.space + "sa/" + string(id) }
func (n *names) entityName(name string) string                 { return n.entity + iam.FoldName(name) }
func (n *names) email(address string) string                   { return n.space + "email/" + iam.FoldName(address) }
func (n *names) projectsOf(entity iam.EntityID) string {
	return n.space + "project/" + string(entity) + "/"
}
func (n *names) project(entity iam.EntityID, name string) string {
	return n.projectsOf(entity) + name
}

// like finds the projects whose names could be taken for name. Likenesses can be long: they are hashed.
func (n *names) like(entity iam.EntityID, name string) string {
	sum := sha256.Sum256([]byte(Likeness(name)))
	return n.space + "project_like/" + string(entity) + "/" + hex.EncodeToString(sum[:16])
}
func (n *names) projectID(id iam.ProjectID) string { return n.space + "project_id/" + string(id) }
func (n *names) membersOf(team iam.TeamID) string  { return n.space + "member/" + string(team) + "/" }
func (n *names) member(team iam.TeamID, user iam.UserID) string {
	return n.membersOf(team) + string(user)
}
func (n *names) invitationsOf(who iam.PrincipalRef) string {
	return n.space + "invited/" + who.String() + "/"
}
func (n *names) invitation(who iam.PrincipalRef, project iam.ProjectID) string {
	return n.invitationsOf(who) + string(project)
}
func (n *names) keysWithID(id iam.KeyID) string { return n.space + "key_id/" + string(id) + "/" }
func (n *names) keysOf(owner iam.PrincipalRef) string {
	return n.space + "key_owner/" + owner.String() + "/"
}

// handover is the key of an account that waits for whoever made it.
func (n *names) handover(to iam.PrincipalRef, team iam.TeamID, account iam.ServiceAccountID) string {
	return n.handovers(to, team) + string(account)
}
func (n *names) handovers(to iam.PrincipalRef, team iam.TeamID) string {
	return n.handoverAll + to.String() + "/" + string(team) + "/"
}

// upstreamKey is an owner's key of the W&B server. Ids of teams and of people differ by their form.
func (n *names) upstreamKey(owner iam.EntityID) string { return n.upstream + string(owner) }

// subject finds an external service account.
func (n *names) subject(issuer, subject string) string {
	return n.space + "subject/" + pairHash(issuer, subject)
}

// binding finds the person who signs in as this subject of this issuer.
func (n *names) binding(b iam.Binding) string {
	return n.space + "binding/" + pairHash(b.Issuer, b.Subject)
}

// group is what provisioning keeps about a team beside the team itself.
func (n *names) group(id iam.TeamID) string { return n.space + "group/" + string(id) }

// externalIDs lists the people whom provisioning calls so. Many may be: it is not ours to say that they
// are not.
func (n *names) externalIDs(externalID string) string {
	return n.space + "external_id/" + pairHash("", externalID) + "/"
}

// pairHash stands for an issuer and a subject in keys. Both are bytes from outside, so they are hashed
// with the issuer's length in front: no pair can be read as another.
func pairHash(issuer, subject string) string {
	h := sha256.New()
	var length [8]byte
	binary.BigEndian.PutUint64(length[:], uint64(len(issuer)))
	h.Write(length[:])
	h.Write([]byte(issuer))
	h.Write([]byte(subject))
	return hex.EncodeToString(h.Sum(nil))
}
