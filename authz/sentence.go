package authz

import (
	"strconv"
	"unicode/utf8"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// Names are the names that a Sentence mentions. All may be empty; they may come straight from a
// request, and are shown escaped and shortened.
type Names struct {
	// Principal is a user name or a service account's name, and Kind which of the two.
	Principal string
	Kind      iam.PrincipalKind
	// Entity and Project are what was asked for.
	Entity  string
	Project string
	// Team is the team to which a service account is limited.
	Team string
	// KeyScope is the entity or project for which the caller's API key is (iam.KeyLimits).
	KeyScope string
}

// By adds who asks; p may be nil.
func (n Names) By(p *iam.Principal) Names {
	if p == nil {
		return n
	}
	n.Principal, n.Kind, n.Team = p.Username, p.Ref.Kind, p.Scope.Name
	if p.Limits != nil {
		n.KeyScope = p.Limits.Scope()
	}
	return n
}

// Sentence returns what the person at the other end reads when refused: the cause first, then what
// to do (iam.md 5.6, TS-1..5). ReasonNotFound mentions nobody, so that a hidden project and an
// absent one read the same (see Hidden). A reason that is not a refusal's gives a plain refusal.
func Sentence(r iam.Reason, n Names) string {
	who, add, own := n.caller()
	entity, team, project := orElse(shown(n.Entity), "the entity"), orElse(prefixed("team ", shown(n.Entity)), "the team"), n.project()
	switch r {
	case ReasonAnonymous:
		return "this needs a credential and the request has none: run `wandb login` or set WANDB_API_KEY"
	case ReasonDeactivated:
		return who + " is deactivated: ask an organization admin to reactivate " + add
	case ReasonOtherOrganization:
		return who + " belongs to another organization: use a key of the organization that owns " + entity
	case ReasonNotFound:
		return n.target() + " was not found: check WANDB_ENTITY and WANDB_PROJECT, and that the key is the right one"
	case ReasonTeamScope:
		return who + " is limited to " + orElse(prefixed("team ", shown(n.Team)), own+" team") + ", and " + n.target() +
			" is outside it: set WANDB_ENTITY to " + orElse(shown(n.Team), own+" team") + ", or use a service account of the organization"
	case ReasonTeamProject:
		return project + " is for members of " + team + " only, and " + who + " is not one: ask a team admin to add " + add
	case ReasonRestrictedProjectNotInvited:
		return who + " is not on the access list of " + restricted(project) + ": ask a project admin to add " + add
	case ReasonRestrictedRunsStay:
		return "runs cannot be moved out of " + restricted(project) + ": log them again elsewhere, or ask its owner or an admin of " + team + " to make it a team project first"
	case ReasonPublicViewOnly:
		return project + " is public: others view it, but only " + entity + " writes to it: ask an admin of " + entity + " to add " + add +
			", or set WANDB_ENTITY to " + own + " team"
	case ReasonNotTeamMember:
		return who + " is not a member of " + team + ": check WANDB_ENTITY, or ask a team admin to add " + add
	case ReasonOrgAdminNotJoined:
		return who + " administers the organization but is not a member of " + team + ": join it first, or ask one of its admins to add you"
	case ReasonPersonalEntity:
		return entity + " is the personal entity of somebody else: set WANDB_ENTITY to " + own + " team"
	case ReasonPersonalEntityDisabled:
		return "writing to personal entities is switched off here: set WANDB_ENTITY to a team"
	case ReasonNotATeam:
		return entity + " is a personal entity, not a team: name a team instead"
	case ReasonViewOnly:
		return who + " has a View-Only role in " + n.target() + ", which reads and does not write: ask a team admin for the Member role"
	case ReasonViewOnlyOrganization:
		return who + " has the organization role viewer, which reads and does not write: ask an organization admin for the Member role"
	case ReasonViewOnlySeat:
		return who + " has a viewer seat, which reads and does not write: ask an organization admin for a full seat"
	case ReasonNoSeat:
		return who + " has no seat for this product: ask an organization admin for one"
	case ReasonUnknownRole:
		return who + " has no role, or one that does not exist any more: ask an admin for the Member role"
	case ReasonProjectAdminRequired:
		return who + " works in " + project + " but does not administer it: ask its owner or an admin of " + entity
	case ReasonTeamAdminRequired:
		return who + " is not an admin of " + team + ": ask one of its admins to do this"
	case ReasonOrganizationAdminRequired:
		return who + " is not an admin of the organization: ask one to do this"
	case ReasonAdminTeamAccessDisabled:
		return "organization admins cannot give themselves access to teams here: ask an admin of " + team + " to add you"
	case ReasonTeamServiceAccountsDisabled:
		return "new service accounts of teams are switched off here: ask an organization admin for a service account of the organization"
	case ReasonServiceAccountSelfManagement:
		return who + " cannot change its own keys and settings: ask an admin of its team or of the organization"
	case ReasonRestrictedOnlyToTeam:
		return restricted(project) + " can only become a team project: make it one first, and open it then"
	case ReasonPrivateProjects:
		return team + " keeps its projects private, and " + project + " cannot be open or public: use team or restricted, or ask an admin of " + team + " to change its settings"
	case ReasonPrivateProjectsEnforced:
		return "the organization keeps the projects of all teams private, and " + project + " cannot be open or public: use team or restricted, or ask an organization admin"
	case ReasonKeyReadOnly:
		return "this API key only reads, and this would write: use another key, or ask whoever made it for one that writes"
	case ReasonKeyScope:
		if n.KeyScope == "" {
			return "this API key is limited to a team or person that was deleted, and so is good for nothing: use another key"
		}
		return "this API key is limited to " + shown(n.KeyScope) + ", and " + n.target() + " is outside it: check WANDB_ENTITY and WANDB_PROJECT, or use another key"
	case ReasonKeyAdministration:
		return "this API key has limits, and this could make or give away more than they allow: use a key without limits"
	case ReasonUnplaced:
		return "the gateway cannot tell which project this request touches, and so refuses it: name the entity and project in it, or ask the operator about the setting `unplaced`"
	case ReasonUnknownRequest:
		return "the gateway does not know this kind of request, and so refuses it: ask the operator whether the gateway is up to date"
	case ReasonInconsistentFacts:
		return "what is recorded about " + project + " contradicts itself, so the request is refused: ask the operator to run `wandb-gateway iam doctor`"
	default:
		return who + " may not do this with " + n.target() + ": ask an admin"
	}
}

// caller names the caller at the head of a sentence, and says how the end of it refers to them
// ("add you") and to what is theirs ("your own").
func (n Names) caller() (who, pronoun, possessive string) {
	name := shown(n.Principal)
	switch n.Kind {
	case iam.KindUser:
		return orElse(name, "this user"), "you", "your own"
	case iam.KindServiceAccount:
		return orElse(prefixed("service account ", name), "this service account"), "it", "its own"
	default:
		return "the caller", "you", "your own"
	}
}

// restricted says of a project that it is restricted.
func restricted(project string) string {
	if project == unnamedProject {
		return "this restricted project"
	}
	return "the restricted project " + project
}

const unnamedProject = "the project"

// project names the project as people write it: entity/project.
func (n Names) project() string {
	if n.Project == "" {
		return unnamedProject
	}
	if n.Entity == "" {
		return shown(n.Project)
	}
	return shown(n.Entity) + "/" + shown(n.Project)
}

// target names what was asked for, as exactly as the names allow.
func (n Names) target() string {
	switch {
	case n.Project != "":
		return n.project()
	case n.Entity != "":
		return shown(n.Entity)
	}
	return "what was asked for"
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

func prefixed(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
}

// shownBytes bounds a name in a sentence; longer ones cannot be of this organization.
const shownBytes = 128

// shown makes a name fit to be shown: what came from outside may hold line breaks, terminal
// escapes or a megabyte.
func shown(name string) string {
	cut := ""
	if len(name) > shownBytes {
		end := shownBytes
		for end > 0 && !utf8.RuneStart(name[end]) {
			end--
		}
		name, cut = name[:end], "..."
	}
	for _, r := range name {
		if r == utf8.RuneError || !strconv.IsPrint(r) {
			return strconv.Quote(name) + cut
		}
	}
	return name + cut
}
