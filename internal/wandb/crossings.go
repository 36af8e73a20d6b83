package wandb

import "github.com/wandb-gateway/wandb-gateway/authz"

// objectType is a type of the schema as far as the way through it matters. The schema itself is not
// public (sdk-wire 4.5): the types are those that client documents show.
type objectType string

const (
	typeLeaf           objectType = ""                // scalars and what is made of them
	typeUnknown        objectType = "unknown"         // behind a field that nobody here knows
	typeOpen           objectType = "open"            // the same for everybody: server info, introspection
	typePayload        objectType = "payload"         // what a mutation answers
	typeUsePayload     objectType = "use payload"     // the same, of an artifact from anywhere
	typeAccountPayload objectType = "account payload" // the same, of a person, team or key
	typeProject        objectType = "project"
	typeRun            objectType = "run"
	typeFile           objectType = "file"
	typeArtifact       objectType = "artifact"
	typeArtifactType   objectType = "artifact type"
	typeManifest       objectType = "manifest"
	typeCollection     objectType = "collection"
	typeMembership     objectType = "collection membership"
	typeAlias          objectType = "alias"
	typeSweep          objectType = "sweep"
	typeAgent          objectType = "agent"
	typeLaunchAgent    objectType = "launch agent"
	typeRunQueue       objectType = "run queue"
	typeQueueItem      objectType = "run queue item"
	typeView           objectType = "view"
	typeTrigger        objectType = "trigger"
	typeAction         objectType = "triggered action"
	typeProjectMember  objectType = "project member"

	// What a document can only cross into: something else than its root names.
	typeOtherProject    objectType = "other project"
	typeOtherRun        objectType = "other run"
	typeOtherArtifact   objectType = "other artifact"
	typeOtherCollection objectType = "other collection"
	typeOtherThing      objectType = "other thing"
	typeOtherEntity     objectType = "other entity"
	typeOtherUser       objectType = "other user"

	typeViewer       objectType = "viewer"
	typeOwnUser      objectType = "user"
	typeOwnEntity    objectType = "own entity"
	typeEntity       objectType = "entity"
	typeOrganization objectType = "organization"
	typeOrgEntity    objectType = "organization entity"
	typeMember       objectType = "team member"
	typeIntegration  objectType = "integration"
)

// typeRow is what is known of a type.
type typeRow struct {
	fields map[string]step
	// openLeaves: a scalar that is not among fields belongs to the place too. openFields: so does an
	// object, unless its name says that it leads away (wayOut).
	openLeaves, openFields bool
}

// step is where a field of a type leads.
type step struct {
	how how
	to  objectType
	// claim is what a placed or crossing step asks for.
	claim claim
	// redactable: instead of refusing the request, Answer can empty the field.
	redactable bool
	// people: Answer can replace what the server says by the members that another record has.
	people bool
	// leafToo: it crosses also where nothing is selected below it.
	leafToo bool
	// learn is the sort of the id that the field is.
	learn IDType
	// args are the arguments that name something and are expected here.
	args []string
}

func (s step) expects(name string) bool {
	for _, a := range s.args {
		if a == name {
			return true
		}
	}
	return false
}

// how says what a step does to the place.
type how uint8

const (
	within   how = iota // stays in the place
	away                // leaves it for something of which only harmless names are known
	owner               // leaves it for the entity that owns it
	links               // stays, but artifacts below may belong to other projects
	placed              // goes to a place that its arguments name
	crossing            // leaves it, which needs claim
	projects            // a list of projects
)

// to stays in the place.
func to(t objectType) step { return step{to: t} }

// leave leaves the place for the harmless part of another thing.
func leave(t objectType) step { return step{how: away, to: t} }

// needs crosses to t, for which the permission on the entity around is needed.
func needs(p authz.Permission, t objectType) step {
	return step{how: crossing, to: t, claim: claim{permission: p, kind: claimInheritEntity}}
}

// people crosses to the members of the entity around.
func people() step {
	s := needs(authz.TeamReadMembers, typeMember)
	s.people = true
	return s
}

// emptied crosses into what only unplaced access may see, and is emptied for everybody else.
func emptied() step {
	return step{how: crossing, to: typeLeaf, leafToo: true, redactable: true,
		claim: claim{permission: authz.UnplacedRead, kind: claimUnplaced}}
}

// learns stays in the place and is an id.
func learns(t IDType) step { return step{learn: t} }

func (s step) with(args ...string) step {
	s.args = args
	return s
}

// scalars adds fields that hold nothing but themselves.
func scalars(fields map[string]step, names ...string) map[string]step {
	for _, name := range names {
		fields[name] = step{}
	}
	return fields
}

// wayOut are the words that say that a field leads to somebody or to something that may lie in
// another project. They count in fields that the tables do not know.
var wayOut = words("account", "alias", "aliases", "artifact", "artifacts", "author", "authors", "bucket", "buckets",
	"collaborator", "collaborators", "collection", "collections", "created", "creator", "creators", "dependencies",
	"dependents", "entities", "entity", "forked", "fork", "forks", "group", "groups", "invite", "invites", "job", "jobs",
	"key", "keys", "lineage", "link", "linked", "links", "member", "members", "membership", "memberships", "model",
	"models", "org", "organization", "organizations", "origin", "owner", "owners", "parent", "people", "person",
	"portfolio", "portfolios", "principal", "project", "projects", "query", "registries", "registry", "run", "runs",
	"secret", "secrets", "seat", "seats", "sequence", "sequences", "service", "share", "shared", "source", "stars",
	"target", "team", "teams", "used", "user", "users", "viewer", "viewers", "views", "view", "report", "reports",
	"sweep", "sweeps", "token", "tokens")

// argumentWords are the words that say that an argument names something.
var argumentWords = words("account", "artifact", "bucket", "entities", "entity", "model", "org",
	"organization", "owner", "project", "projects", "run", "runs", "team", "teams", "user", "username", "users")

// secretWords are the words of scalars that nobody reads by guessing their name.
var secretWords = words("credential", "credentials", "password", "secret", "secrets", "token", "tokens")

func words(list ...string) map[string]bool {
	m := make(map[string]bool, len(list))
	for _, word := range list {
		m[word] = true
	}
	return m
}

// typeTable is the way through the schema: per type the fields that lead somewhere. What leads out
// of the place is a crossing (design section 3, step 4).
var typeTable = map[objectType]typeRow{
	typeLeaf:    {openLeaves: true, openFields: true},
	typeUnknown: {openLeaves: true, openFields: true},
	typeOpen: {openLeaves: true, openFields: true, fields: map[string]step{
		"types": to(typeOpen), "fields": to(typeOpen), "inputFields": to(typeOpen), "args": to(typeOpen), "type": to(typeOpen),
		"ofType": to(typeOpen), "queryType": to(typeOpen), "mutationType": to(typeOpen), "subscriptionType": to(typeOpen),
	}},

	typePayload: {openLeaves: true, openFields: true, fields: map[string]step{
		"bucket": to(typeRun), "run": to(typeRun), "rewoundRun": to(typeRun), "project": to(typeProject), "model": to(typeProject),
		"artifact": to(typeArtifact), "artifactManifest": to(typeManifest), "artifactCollection": to(typeCollection),
		"artifactType": to(typeArtifactType), "tags": to(typeLeaf),
		"files": to(typeFile), "sweep": to(typeSweep), "agent": to(typeAgent), "trigger": to(typeTrigger), "view": to(typeView),
		"integration": to(typeIntegration), "chart": to(typeLeaf), "serverSettings": to(typeOpen),
		"launchAgentId": learns(IDLaunchAgent), "queueID": learns(IDRunQueue), "runQueueItemId": learns(IDRunQueueItem),
	}},
	typeUsePayload: {openLeaves: true, fields: map[string]step{
		"artifact": leave(typeArtifact), "artifactMembership": leave(typeMembership),
	}},
	typeAccountPayload: {openLeaves: true, fields: map[string]step{
		"user": leave(typeOtherUser), "toUser": leave(typeOtherUser), "entity": leave(typeOtherEntity),
		"invite": to(typeAccountPayload), "apiKey": to(typeLeaf), "limits": {},
	}},

	typeProject: {openLeaves: true, openFields: true, fields: map[string]step{
		"id": learns(IDProject), "internalId": learns(IDProjectNumber),
		"run": to(typeRun), "runs": to(typeRun), "bucket": to(typeRun), "buckets": to(typeRun),
		"sweep": to(typeSweep), "sweeps": to(typeSweep),
		"artifact": {how: links, to: typeArtifact}, "artifactType": to(typeArtifactType), "artifactTypes": to(typeArtifactType),
		"artifactCollection": to(typeCollection), "artifactCollections": to(typeCollection),
		"artifactCollectionMembership": {how: links, to: typeMembership},
		"runQueue":                     to(typeRunQueue), "runQueues": to(typeRunQueue),
		"allViews": to(typeView), "views": to(typeView), "view": to(typeView), "triggers": to(typeTrigger), "files": to(typeFile), "tags": to(typeLeaf),
		"entity": {how: owner, to: typeOtherEntity}, "user": leave(typeOtherUser), "owner": leave(typeOtherUser), "createdBy": leave(typeOtherUser),
		"members": to(typeProjectMember), "teamMembers": to(typeProjectMember), "icon": to(typeLeaf), "rateLimits": to(typeLeaf),
	}},
	typeProjectMember: {openLeaves: true, fields: map[string]step{
		"role": to(typeLeaf), "user": leave(typeOtherUser), "team": leave(typeEntity), "apiKey": emptied(),
	}},

	typeRun: {openLeaves: true, openFields: true, fields: map[string]step{
		"projectId": learns(IDProjectNumber),
		"project":   to(typeProject), "user": leave(typeOtherUser), "files": to(typeFile), "sweep": to(typeSweep), "agent": to(typeAgent),
		"inputArtifacts": leave(typeOtherArtifact), "outputArtifacts": to(typeArtifact), "runInfo": to(typeLeaf), "logLines": to(typeLeaf),
		"parquetHistory": to(typeLeaf), "tags": to(typeLeaf), "history": to(typeLeaf), "historyKeys": {args: nil},
		"wandbConfig": step{}.with("keys"), "sampledHistory": {}, "sampledParquetHistory": {},
	}},
	typeFile: {openLeaves: true, fields: map[string]step{
		"id": learns(IDFile), "artifact": to(typeOtherThing), "uploadMultipartUrls": to(typeFile), "uploadUrlParts": to(typeFile),
		"files": to(typeFile), "uploadID": {},
	}},

	typeArtifactType: {openLeaves: true, openFields: true, fields: map[string]step{
		"artifactCollections": to(typeCollection), "artifactCollection": to(typeCollection), "artifacts": {how: links, to: typeArtifact},
		"artifact": {how: links, to: typeArtifact}, "artifactSequence": to(typeCollection), "artifactSequences": to(typeCollection),
	}},
	typeArtifact: {openLeaves: true, openFields: true, fields: map[string]step{
		"id":               learns(IDArtifact),
		"artifactSequence": leave(typeOtherCollection), "artifactType": to(typeLeaf), "tags": to(typeLeaf),
		"aliases": to(typeAlias), "currentManifest": to(typeManifest), "manifest": to(typeManifest),
		"files": to(typeFile), "filesByManifestEntries": to(typeFile),
		"usedBy": leave(typeOtherRun), "createdBy": leave(typeOtherRun),
		"artifactMemberships": leave(typeOtherThing), "artifactCollections": leave(typeOtherCollection),
	}},
	typeManifest: {openLeaves: true, openFields: true, fields: map[string]step{
		"id": learns(IDArtifactManifest), "file": to(typeFile),
	}},
	typeCollection: {openLeaves: true, openFields: true, fields: map[string]step{
		"id": learns(IDCollection), "project": to(typeProject), "artifacts": {how: links, to: typeArtifact},
		"artifactMembership": {how: links, to: typeMembership}, "artifactMemberships": {how: links, to: typeMembership},
		"latestArtifact": {how: links, to: typeArtifact}, "aliases": to(typeAlias), "tags": to(typeLeaf),
		"defaultArtifactType": to(typeLeaf), "artifactTypes": to(typeLeaf), "createdBy": leave(typeOtherUser),
	}},
	typeMembership: {openLeaves: true, openFields: true, fields: map[string]step{
		"aliases": to(typeAlias), "artifactCollection": leave(typeOtherCollection), "artifact": {how: links, to: typeArtifact},
		"files": to(typeFile),
	}},
	typeAlias: {openLeaves: true, fields: map[string]step{"artifactCollection": leave(typeOtherCollection)}},

	typeSweep: {openLeaves: true, openFields: true, fields: map[string]step{
		"id": learns(IDSweep), "runs": to(typeRun), "agent": to(typeAgent), "agents": to(typeAgent),
		"project": to(typeProject), "user": leave(typeOtherUser),
	}},
	typeAgent: {openLeaves: true, openFields: true, fields: map[string]step{
		"id": learns(IDAgent), "runs": to(typeRun), "sweep": to(typeSweep), "user": leave(typeOtherUser),
	}},
	typeLaunchAgent: {openLeaves: true, fields: map[string]step{"runQueues": {}}},
	typeRunQueue: {openLeaves: true, openFields: true, fields: map[string]step{
		"id": learns(IDRunQueue), "runQueueItems": to(typeQueueItem), "runQueueItem": to(typeQueueItem).with("id"), "createdBy": leave(typeOtherUser),
	}},
	typeQueueItem: {openLeaves: true, openFields: true, fields: map[string]step{"id": learns(IDRunQueueItem)}},
	typeView: {openLeaves: true, openFields: true, fields: map[string]step{
		"id": learns(IDView), "project": to(typeOtherProject), "entity": leave(typeOtherEntity), "user": leave(typeOtherUser),
		"updatedBy": leave(typeOtherUser),
	}},
	typeTrigger: {openLeaves: true, fields: map[string]step{
		"id": learns(IDTrigger), "scope": leave(typeOtherThing), "triggeringCondition": to(typeLeaf), "triggeredAction": to(typeAction),
		"createdBy": leave(typeOtherUser), "updatedBy": leave(typeOtherUser),
	}},
	typeAction:      {openLeaves: true, fields: map[string]step{"queue": leave(typeOtherThing), "integration": leave(typeIntegration)}},
	typeIntegration: {fields: scalars(map[string]step{}, "id", "name", "teamName", "channelName", "urlEndpoint")},

	// Only names: whoever may see that these things are connected may know what they are called.
	typeOtherProject: {fields: scalars(map[string]step{"entity": leave(typeOtherEntity)}, "id", "internalId", "name", "entityName")},
	typeOtherRun:     {fields: scalars(map[string]step{"project": leave(typeOtherProject)}, "id", "name", "displayName", "username")},
	typeOtherArtifact: {fields: scalars(map[string]step{
		"artifactSequence": leave(typeOtherCollection), "artifactType": to(typeOtherThing), "aliases": to(typeAlias), "tags": to(typeOtherThing),
		"description": emptied(), "metadata": emptied(), "currentManifest": emptied(),
	}, "id", "versionIndex", "state", "size", "digest", "digestAlgorithm", "commitHash", "fileCount", "createdAt", "updatedAt", "historyStep",
		"ttlDurationSeconds", "ttlIsInherited")},
	typeOtherCollection: {fields: scalars(map[string]step{
		"project": leave(typeOtherProject), "latestArtifact": to(typeOtherThing),
	}, "id", "name", "state")},
	typeOtherThing: {fields: scalars(map[string]step{
		"artifactCollection": leave(typeOtherCollection), "aliases": to(typeAlias),
	}, "id", "name", "entityType", "versionIndex", "alias", "createdAt")},
	typeOtherUser: {fields: scalars(map[string]step{
		"apiKeys": emptied(), "teams": emptied(), "organizations": leave(typeOrganization),
	}, "id", "name", "username", "email", "photoUrl", "admin", "flags", "entity", "deletedAt", "accountType", "createdAt")},
	typeOtherEntity: {fields: scalars(entityFields(), "id", "name", "entityType", "isTeam", "photoUrl", "available", "limits")},

	// What the caller is, and the roots that name a team or the organization.
	typeViewer: {openLeaves: true, fields: map[string]step{
		"teams": leave(typeOwnEntity), "apiKeys": to(typeLeaf), "organizations": leave(typeOrganization), "organization": leave(typeOrganization),
		"defaultEntity": leave(typeOwnEntity), "personalEntity": leave(typeOwnEntity), "flags": {},
		"projects": {how: projects, to: typeProject, claim: claim{permission: authz.SelfRead, kind: claimSelf, filtered: true}},
	}},
	typeOwnUser: {openLeaves: true, fields: map[string]step{
		"teams": leave(typeOtherEntity), "apiKeys": to(typeLeaf), "organizations": leave(typeOrganization),
	}},
	// The entities of the viewer are known only from the answer: more than their names is unplaced.
	typeOwnEntity: {fields: scalars(map[string]step{}, "id", "name", "entityType", "isTeam", "photoUrl", "available", "role", "admin")},
	typeEntity: {fields: scalars(entityFields(), "id", "name", "available", "photoUrl", "readOnly", "readOnlyAdmin", "isTeam",
		"entityType", "privateOnly", "storageBytes", "codeSavingEnabled", "defaultAccess", "isPaid", "limits")},
	typeOrganization: {fields: scalars(map[string]step{
		"orgEntity": to(typeOrgEntity), "featureFlags": to(typeOpen), "advancedRegistryFeatures": to(typeOpen),
	}, "id", "name", "coreWeaveOrganizationId")},
	typeOrgEntity: {fields: scalars(map[string]step{
		"projects":            registries(typeProject),
		"artifactCollections": registries(typeCollection), "artifactMemberships": registries(typeMembership),
	}, "id", "name", "entityType")},
	typeMember: {openLeaves: true, fields: map[string]step{
		"apiKey": {how: crossing, leafToo: true, redactable: true, claim: claim{permission: authz.TeamManage, kind: claimInheritEntity}},
		"user":   leave(typeOtherUser), "role": to(typeLeaf),
	}},
}

// entityFields are the ways out of an entity. Each needs what reading it at its own root would.
func entityFields() map[string]step {
	return map[string]step{
		"organization":          leave(typeOrganization),
		"user":                  leave(typeOtherUser),
		"members":               people(),
		"integrations":          needs(authz.TeamReadMembers, typeIntegration),
		"triggers":              needs(authz.TeamReadMembers, typeTrigger),
		"defaultResourceConfig": needs(authz.TeamReadMembers, typeLeaf).with("id"),
		"projects":              {how: projects, to: typeProject, claim: claim{permission: authz.EntityRead, kind: claimInheritEntity, filtered: true}},
		"project": {how: placed, to: typeProject, args: []string{"name"},
			claim: claim{permission: authz.ProjectRead, kind: claimProject, project: "name"}},
	}
}

// registries are the lists of an organization's registries, which are projects.
func registries(t objectType) step {
	return step{how: projects, to: t, claim: claim{permission: authz.OrganizationRead, kind: claimOrganization, filtered: true},
		args: []string{"projectFilters", "collectionFilters", "collectionTypes"}}
}
