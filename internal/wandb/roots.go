package wandb

import "github.com/wandb-gateway/wandb-gateway/authz"

// claim says what access the arguments of a field ask for. Its paths start from the field's
// arguments and lead through input objects: "input.entityName".
type claim struct {
	permission authz.Permission
	kind       claimKind
	// entity, project, run, id and organization are the paths of the names and of the id.
	entity, project, run, id, organization string
	// idType is what the id names. The id of a run (idRun) is decoded and must agree with the names.
	idType IDType
	// sort is the path of a word that says what the id names (scopeSorts); idType counts for other words.
	sort string
	// each is the path of a list; the other paths start from its items.
	each string
	// json is the path of a string that holds JSON in which `entity` and `project` are members.
	json string
	// administered: where the request does nothing but administer the project, what the row's other claims ask for is
	// enough (Call.administers).
	administered bool
	// access is the path of the server's word for a visibility that the project is to have.
	access string
	// when is a path: the claim counts only if something stands there. unlessFalse is one too: the
	// claim counts unless false, null or nothing stands there.
	when, unlessFalse string
	// beyond are members of input: the claim counts only if another one is given.
	beyond []string
	// optional: the claim counts only if one of its names or its id is given. Otherwise the default
	// entity is filled in where no entity is given.
	optional bool
	// creates, filtered: see Access. fallback is the project that a server takes if none is named.
	creates, filtered bool
	fallback          string
}

// idRun marks a path to the id of a run, which hides nothing.
const idRun IDType = "run"

// claimKind says what a claim is about.
type claimKind uint8

const (
	claimUnplaced      claimKind = iota
	claimProject                 // a project, by names, or by an id
	claimEntity                  // a team or user
	claimOrganization            // the organization
	claimSelf                    // the caller
	claimServer                  // the deployment
	claimID                      // what an id names
	claimInherit                 // the project of the place around the field
	claimInheritEntity           // the entity of the place around the field
)

// row is a root field of the schema as far as clients are known to send it.
type row struct {
	mutation bool
	claims   []claim
	// returns is the type of what it selects.
	returns objectType
	// list: it is a list of projects that Answer filters.
	list bool
	// upserts: its answer tells of a project that was made or changed.
	upserts bool
	// ref is the place in sdk-wire, or where else the field is known from.
	ref string
}

// uncategorized is the project of runs that name none (sdk-wire 4.1).
const uncategorized = "uncategorized"

func claims(c ...claim) []claim { return c }

// onNames is a claim on a project by the members entityName and projectName of input.
func onNames(p authz.Permission) claim {
	return claim{permission: p, kind: claimProject, entity: "input.entityName", project: "input.projectName", fallback: uncategorized}
}

// onRun is onNames with the member runName.
func onRun(p authz.Permission) claim {
	c := onNames(p)
	c.run = "input.runName"
	return c
}

// onID is a claim on what the id at path names.
func onID(p authz.Permission, t IDType, path string) claim {
	return claim{permission: p, kind: claimID, id: path, idType: t, optional: true}
}

// onIDs is onID for every item of the list at path.
func onIDs(p authz.Permission, t IDType, path string) claim {
	return claim{permission: p, kind: claimID, idType: t, each: path, optional: true}
}

func onEntity(p authz.Permission, path string) claim {
	return claim{permission: p, kind: claimEntity, entity: path}
}

func onSelf(p authz.Permission) []claim { return []claim{{permission: p, kind: claimSelf}} }

// rootTable is what every root field that W&B clients send would touch. The first claim of a row is
// the place in which its selection reads. Fields that stand in no row are unplaced.
var rootTable = map[string]row{
	// Queries (sdk-wire 4.3).
	"__schema":   {claims: claims(claim{permission: authz.ServerRead, kind: claimServer}), returns: typeOpen, ref: "9"},
	"__type":     {claims: claims(claim{permission: authz.ServerRead, kind: claimServer}), returns: typeOpen, ref: "9"},
	"__typename": {claims: claims(claim{permission: authz.ServerRead, kind: claimServer}), ref: "9"},
	"artifact": {claims: claims(claim{permission: authz.ProjectRead, kind: claimID, id: "id", idType: IDArtifact}),
		returns: typeArtifact, ref: "4.3 ArtifactByID"},
	"artifactCollection": {claims: claims(claim{permission: authz.ProjectRead, kind: claimID, id: "id", idType: IDCollection}),
		returns: typeCollection, ref: "4.3 ArtifactCollectionAliases"},
	"clientIDMapping": {claims: claims(claim{permission: authz.ProjectRead, kind: claimID, id: "clientID", idType: IDArtifactClient}),
		returns: typeLeaf, ref: "4.3 ClientIDMapping"},
	"entity":      {claims: claims(onEntity(authz.EntityRead, "name")), returns: typeEntity, ref: "4.3 GetTeamEntity"},
	"launchAgent": {claims: claims(claim{permission: authz.ProjectRead, kind: claimID, id: "id", idType: IDLaunchAgent}), returns: typeLaunchAgent, ref: "4.3 LaunchAgent"},
	"model": {claims: claims(claim{permission: authz.ProjectRead, kind: claimProject, entity: "entityName", project: "name"}),
		returns: typeProject, ref: "4.3 ProjectDetails"},
	"models": {claims: claims(claim{permission: authz.EntityRead, kind: claimEntity, entity: "entityName", filtered: true}),
		returns: typeProject, list: true, ref: "4.3 GetProjects"},
	"organization": {claims: claims(claim{permission: authz.OrganizationRead, kind: claimOrganization, organization: "name"}),
		returns: typeOrganization, ref: "4.3 FetchOrganization"},
	"project": {claims: claims(claim{permission: authz.ProjectRead, kind: claimProject, entity: "entityName", project: "name"}),
		returns: typeProject, ref: "4.3 GetProject"},
	"serverInfo": {claims: claims(claim{permission: authz.ServerRead, kind: claimServer}), returns: typeOpen, ref: "4.3 ServerInfo"},
	"users":      {claims: claims(claim{permission: authz.OrganizationProvision, kind: claimOrganization}), returns: typeOwnUser, ref: "4.3 SearchUsers"},
	"view": {claims: claims(claim{permission: authz.ProjectRead, kind: claimID, id: "id", idType: IDView}),
		returns: typeView, ref: "wandb-workspaces"},
	"viewer": {claims: onSelf(authz.SelfRead), returns: typeViewer, ref: "4.3 Viewer"},

	// Runs (sdk-wire 4.2).
	"createRunFiles": {mutation: true, claims: claims(onRun(authz.RunWrite)), returns: typePayload, ref: "4.2 CreateRunFiles"},
	"deleteFiles": {mutation: true, claims: claims(onIDs(authz.RunDelete, IDFile, "input.files"),
		onID(authz.RunDelete, IDProjectNumber, "input.projectId")), returns: typePayload, ref: "4.2 deleteFiles"},
	"deleteRun": {mutation: true, claims: claims(claim{permission: authz.RunDelete, kind: claimProject, id: "input.id", idType: idRun}),
		returns: typePayload, ref: "4.2 DeleteRun"},
	"markRunFilesUploaded": {mutation: true, claims: claims(onRun(authz.RunWrite)), returns: typePayload, ref: "4.2 MarkRunFilesUploaded"},
	// The web page sends filters and no ids: what they pick lies in the project that is named. The place whose
	// selection is read, and which may be made by it, is where the runs go.
	"moveRuns": {mutation: true, claims: claims(
		claim{permission: authz.RunWrite, kind: claimProject, entity: "input.destinationEntityName", project: "input.destinationProjectName", creates: true},
		claim{permission: authz.RunMove, kind: claimProject, entity: "input.sourceEntityName", project: "input.sourceProjectName"},
	), returns: typePayload, upserts: true, ref: "weave-js MoveRunsInput"},
	"notifyScriptableRunAlert": {mutation: true, claims: claims(onRun(authz.RunWrite)), returns: typePayload, ref: "4.2 NotifyScriptableRunAlert"},
	"rewindRun":                {mutation: true, claims: claims(onRun(authz.RunWrite)), returns: typePayload, ref: "4.2 RewindRun"},
	"stopRun": {mutation: true, claims: claims(claim{permission: authz.RunStop, kind: claimProject, id: "input.id", idType: idRun}),
		returns: typePayload, ref: "4.2 StopRun"},
	"updateRunState": {mutation: true, claims: claims(claim{permission: authz.RunWrite, kind: claimProject, id: "input.id", idType: idRun}),
		returns: typePayload, ref: "4.2 UpdateRunState"},
	"upsertBucket": {mutation: true, claims: claims(claim{permission: authz.RunWrite, kind: claimProject,
		entity: "input.entityName", project: "input.modelName", run: "input.name", id: "input.id", idType: idRun,
		creates: true, fallback: uncategorized}), returns: typePayload, upserts: true, ref: "4.2 UpsertBucket"},

	// Projects and registries.
	"createProjectMembers": {mutation: true, claims: claims(onID(authz.ProjectManageMembers, IDProject, "input.projectId")), returns: typePayload, ref: "4.2 CreateRegistryMembers"},
	"deleteModel":          {mutation: true, claims: claims(onID(authz.ProjectDelete, IDProject, "input.id")), returns: typePayload, ref: "4.2 DeleteRegistry"},
	"deleteProjectMembers": {mutation: true, claims: claims(onID(authz.ProjectManageMembers, IDProject, "input.projectId")), returns: typePayload, ref: "4.2 DeleteRegistryMembers"},
	"renameProject": {mutation: true, claims: claims(
		claim{permission: authz.ProjectUpdate, kind: claimProject, entity: "input.entityName", project: "input.oldProjectName"},
		claim{permission: authz.ProjectUpdate, kind: claimProject, entity: "input.entityName", project: "input.newProjectName", creates: true},
	), returns: typePayload, ref: "4.2 RenameRegistry"},
	"updateProjectMember":     {mutation: true, claims: claims(onID(authz.ProjectManageMembers, IDProject, "input.projectId")), returns: typePayload, ref: "4.2 UpdateUserRegistryRole"},
	"updateProjectTeamMember": {mutation: true, claims: claims(onID(authz.ProjectManageMembers, IDProject, "input.projectId")), returns: typePayload, ref: "4.2 UpdateTeamRegistryRole"},
	// Clients send it to make sure that a project is there: with nothing but names it changes nothing,
	// and asks for what its next request will need. Admins send it to set a visibility, and need not be in the
	// project (VIS-7).
	"upsertModel": {mutation: true, claims: claims(
		onModel(claim{permission: authz.RunWrite, administered: true}),
		onModel(claim{permission: authz.ProjectUpdate, beyond: []string{"entityName", "name", "id", "access", "owner"}}),
		onModel(claim{permission: authz.ProjectSetVisibility, when: "input.access", access: "input.access"}),
		onModel(claim{permission: authz.ProjectManageMembers, when: "input.owner"}),
	), returns: typePayload, upserts: true, ref: "4.2 UpsertModel"},

	// Reports and workspaces.
	"deleteView": {mutation: true, claims: claims(onID(authz.ReportUpdate, IDView, "input.id")), returns: typePayload, ref: "wandb-workspaces"},
	"upsertView": {mutation: true, claims: claims(
		claim{permission: authz.ReportCreate, kind: claimProject, entity: "input.entityName", project: "input.projectName", optional: true},
		onID(authz.ReportUpdate, IDView, "input.id"),
	), returns: typePayload, ref: "wandb-workspaces"},

	// Artifacts.
	"addAliases": {mutation: true, claims: claims(onID(authz.ProjectRead, IDArtifact, "input.artifactID"), onAlias()), returns: typePayload, ref: "4.2 AddAliases"},
	"commitArtifact": {mutation: true, claims: claims(onID(authz.RunWrite, IDArtifact, "input.artifactID")),
		returns: typePayload, ref: "4.2 CommitArtifact"},
	"completeMultipartUploadArtifact": {mutation: true, claims: claims(onID(authz.RunWrite, IDArtifact, "input.artifactID")),
		returns: typePayload, ref: "4.2 CompleteMultipartUploadArtifact"},
	"createArtifact":                         {mutation: true, claims: claims(withCreates(onRun(authz.RunWrite))), returns: typePayload, ref: "4.2 CreateArtifact"},
	"createArtifactCollectionTagAssignments": {mutation: true, claims: claims(onNames(authz.RunWrite)), returns: typePayload, ref: "4.2 AddArtifactCollectionTags"},
	"createArtifactFiles": {mutation: true, claims: claims(
		claim{permission: authz.RunWrite, kind: claimID, each: "input.artifactFiles", id: "artifactID", idType: IDArtifact},
		claim{permission: authz.RunWrite, kind: claimID, each: "input.artifactFiles", id: "artifactManifestID", idType: IDArtifactManifest, optional: true},
	), returns: typePayload, ref: "4.2 CreateArtifactFiles"},
	"createArtifactManifest": {mutation: true, claims: claims(withID(onRun(authz.RunWrite), IDArtifact, "input.artifactID"),
		onID(authz.ProjectRead, IDArtifact, "input.baseArtifactID"),
	), returns: typePayload, ref: "4.2 CreateArtifactManifest"},
	"createArtifactType": {mutation: true, claims: claims(withCreates(onNames(authz.RunWrite))), returns: typePayload, ref: "4.2 CreateArtifactType"},
	"deleteAliases":      {mutation: true, claims: claims(onID(authz.ProjectRead, IDArtifact, "input.artifactID"), onAlias()), returns: typePayload, ref: "4.2 DeleteAliases"},
	"deleteArtifact":     {mutation: true, claims: claims(onID(authz.RunWrite, IDArtifact, "input.artifactID")), returns: typePayload, ref: "4.2 DeleteArtifact"},
	"deleteArtifactPortfolio": {mutation: true, claims: claims(onID(authz.RunWrite, IDCollection, "input.artifactPortfolioID")),
		returns: typePayload, ref: "4.2 DeleteArtifactPortfolio"},
	"deleteArtifactSequence": {mutation: true, claims: claims(onID(authz.RunWrite, IDCollection, "input.artifactSequenceID")),
		returns: typePayload, ref: "4.2 DeleteArtifactSequence"},
	"deleteArtifactCollectionTagAssignments": {mutation: true, claims: claims(onNames(authz.RunWrite)), returns: typePayload, ref: "4.2 DeleteArtifactCollectionTags"},
	"linkArtifact": {mutation: true, claims: claims(
		claim{permission: authz.RunWrite, kind: claimProject, entity: "input.entityName", project: "input.projectName",
			id: "input.artifactPortfolioID", idType: IDCollection},
		onID(authz.ProjectRead, IDArtifact, "input.artifactID"), onID(authz.ProjectRead, IDArtifactClient, "input.clientID"),
	), returns: typeUsePayload, ref: "4.2 LinkArtifact"},
	"moveArtifactSequence": {mutation: true, claims: claims(onID(authz.RunWrite, IDCollection, "input.artifactSequenceID")),
		returns: typePayload, ref: "4.2 UpdateArtifactSequenceType"},
	"unlinkArtifact": {mutation: true, claims: claims(onID(authz.RunWrite, IDCollection, "input.artifactPortfolioID"),
		onID(authz.ProjectRead, IDArtifact, "input.artifactID")), returns: typePayload, ref: "4.2 UnlinkArtifact"},
	"updateArtifact": {mutation: true, claims: claims(onID(authz.RunWrite, IDArtifact, "input.artifactID")), returns: typePayload, ref: "4.2 UpdateArtifact"},
	"updateArtifactManifest": {mutation: true, claims: claims(onID(authz.RunWrite, IDArtifactManifest, "input.artifactManifestID"),
		onID(authz.ProjectRead, IDArtifact, "input.baseArtifactID")), returns: typePayload, ref: "4.2 UpdateArtifactManifest"},
	"updateArtifactPortfolio": {mutation: true, claims: claims(onID(authz.RunWrite, IDCollection, "input.artifactPortfolioID")),
		returns: typePayload, ref: "4.2 UpdateArtifactPortfolio"},
	"updateArtifactSequence": {mutation: true, claims: claims(onID(authz.RunWrite, IDCollection, "input.artifactSequenceID")),
		returns: typePayload, ref: "4.2 UpdateArtifactSequence"},
	"useArtifact": {mutation: true, claims: claims(onRun(authz.RunWrite),
		claim{permission: authz.ProjectRead, kind: claimProject, entity: "input.artifactEntityName", project: "input.artifactProjectName",
			id: "input.artifactID", idType: IDArtifact, optional: true},
	), returns: typeUsePayload, ref: "4.2 UseArtifact"},

	// Sweeps and agents.
	"agentHeartbeat": {mutation: true, claims: claims(onID(authz.RunWrite, IDAgent, "input.id")), returns: typePayload, ref: "4.2 Heartbeat"},
	"createAgent":    {mutation: true, claims: claims(onNames(authz.RunWrite)), returns: typePayload, ref: "4.2 CreateAgent"},
	"enqueueSweepRun": {mutation: true, claims: claims(onID(authz.RunWrite, IDSweep, "input.id")),
		returns: typePayload, ref: "4.2 EnqueueSweepRun"},
	"upsertSweep": {mutation: true, claims: claims(withID(withCreates(onNames(authz.RunWrite)), IDSweep, "input.id")), returns: typePayload, ref: "4.2 UpsertSweep"},

	// Launch.
	"ackRunQueueItem":             {mutation: true, claims: claims(onID(authz.RunWrite, IDRunQueueItem, "input.runQueueItemId")), returns: typePayload, ref: "4.2 ackRunQueueItem"},
	"createDefaultResourceConfig": {mutation: true, claims: claims(onEntity(authz.EntityWrite, "input.entityName")), returns: typePayload, ref: "4.2 CreateDefaultResourceConfig"},
	"createLaunchAgent":           {mutation: true, claims: claims(onNames(authz.RunWrite), onIDs(authz.RunWrite, IDRunQueue, "input.runQueues")), returns: typePayload, ref: "4.2 createLaunchAgent"},
	"createRunQueue": {mutation: true, claims: claims(withCreates(onNames(authz.RunWrite)), onID(authz.RunWrite, IDOther, "input.defaultResourceConfigID")),
		returns: typePayload, ref: "4.2 CreateRunQueue"},
	"deleteFromRunQueue": {mutation: true, claims: claims(onID(authz.RunWrite, IDRunQueue, "input.queueID"),
		onID(authz.RunWrite, IDRunQueueItem, "input.runQueueItemId")), returns: typePayload, ref: "4.2 DeleteFromRunQueue"},
	"deleteRunQueues":  {mutation: true, claims: claims(onIDs(authz.RunWrite, IDRunQueue, "input.queueIDs")), returns: typePayload, ref: "4.2 DeleteRunQueue"},
	"failRunQueueItem": {mutation: true, claims: claims(onID(authz.RunWrite, IDRunQueueItem, "input.runQueueItemId")), returns: typePayload, ref: "4.2 failRunQueueItem"},
	"popFromRunQueue": {mutation: true, claims: claims(onNames(authz.RunWrite), onID(authz.RunWrite, IDLaunchAgent, "input.launchAgentId")),
		returns: typePayload, ref: "4.2 popFromRunQueue"},
	"pushToRunQueue":       {mutation: true, claims: claims(onID(authz.RunWrite, IDRunQueue, "input.queueID"), onRunSpec()), returns: typePayload, ref: "4.2 pushToRunQueue"},
	"pushToRunQueueByName": {mutation: true, claims: claims(onNames(authz.RunWrite), onRunSpec()), returns: typePayload, ref: "4.2 pushToRunQueueByName"},
	"updateLaunchAgent": {mutation: true, claims: claims(onID(authz.RunWrite, IDLaunchAgent, "input.launchAgentId")),
		returns: typePayload, ref: "4.2 updateLaunchAgent"},
	"updateRunQueueItemWarning": {mutation: true, claims: claims(onID(authz.RunWrite, IDRunQueueItem, "input.runQueueItemId")),
		returns: typePayload, ref: "4.2 updateRunQueueItemWarning"},
	"upsertRunQueue": {mutation: true, claims: claims(withCreates(onNames(authz.RunWrite))), returns: typePayload, ref: "4.2 UpsertRunQueue"},

	// Automations. What a trigger does goes by ids of its own (webhooks, queues, users).
	"createFilterTrigger": {mutation: true, claims: claims(onScope(),
		onAction("notificationActionInput.integrationID"), onAction("genericWebhookActionInput.integrationID"), onQueue(), onTemplate()), returns: typePayload, ref: "4.2 CreateAutomation"},
	"createGenericWebhookIntegration": {mutation: true, claims: claims(onEntity(authz.TeamManage, "input.entityName")), returns: typePayload, ref: "4.2 CreateGenericWebhookIntegration"},
	"deleteTrigger":                   {mutation: true, claims: claims(onID(authz.RunWrite, IDTrigger, "input.triggerID"), onID(authz.RunWrite, IDTrigger, "input.id")), returns: typePayload, ref: "4.2 DeleteAutomation"},
	"updateFilterTrigger": {mutation: true, claims: claims(onID(authz.RunWrite, IDTrigger, "input.id"), onScope(),
		onAction("notificationActionInput.integrationID"), onAction("genericWebhookActionInput.integrationID"), onQueue(), onTemplate()), returns: typePayload, ref: "4.2 UpdateAutomation"},

	// Teams, people, keys.
	"createCustomChart": {mutation: true, claims: claims(onEntity(authz.EntityWrite, "input.entity")), returns: typePayload, ref: "4.2 CreateCustomChart"},
	"createInvite": {mutation: true, claims: claims(onEntity(authz.TeamInvite, "input.entityName"),
		claim{permission: authz.TeamManage, kind: claimEntity, entity: "input.entityName", unlessFalse: "input.admin"}), returns: typeAccountPayload, ref: "4.2 CreateInvite"},
	"createServiceAccount": {mutation: true, claims: claims(onEntity(authz.TeamCreateServiceAcc, "input.entityName")), returns: typeAccountPayload, ref: "4.2 CreateServiceAccount"},
	"createTeam":           {mutation: true, claims: claims(claim{permission: authz.TeamCreate, kind: claimOrganization}), returns: typeAccountPayload, ref: "4.2 CreateTeam"},
	"createUser":           {mutation: true, claims: claims(claim{permission: authz.OrganizationManage, kind: claimOrganization}), returns: typeAccountPayload, ref: "4.2 CreateUserFromAdmin"},
	"deleteApiKey":         {mutation: true, claims: onSelf(authz.SelfUpdate), returns: typeAccountPayload, ref: "4.2 DeleteApiKey"},
	"deleteInvite":         {mutation: true, claims: claims(onEntity(authz.TeamManage, "input.entityName")), returns: typeAccountPayload, ref: "4.2 DeleteInvite"},
	"generateApiKey":       {mutation: true, claims: onSelf(authz.SelfUpdate), returns: typeAccountPayload, ref: "4.2 GenerateApiKey"},
}

// onModel completes a claim of upsertModel.
func onModel(c claim) claim {
	c.kind, c.entity, c.project, c.id, c.idType, c.creates = claimProject, "input.entityName", "input.name", "input.id", IDProject, true
	return c
}

func withCreates(c claim) claim {
	c.creates = true
	return c
}

// withID adds the id at path, which must lie where the names of the claim say.
func withID(c claim, t IDType, path string) claim {
	c.id, c.idType = path, t
	return c
}

// onAlias is the claim on the collections whose aliases change.
func onAlias() claim {
	return claim{permission: authz.RunWrite, kind: claimProject, each: "input.aliases", entity: "entityName", project: "projectName"}
}

// onRunSpec is the claim on where a queued job will run: names inside a JSON string.
func onRunSpec() claim {
	return claim{permission: authz.RunWrite, kind: claimProject, json: "input.runSpec", entity: "entity", project: "project", optional: true, creates: true}
}

// onScope is the claim on what a trigger watches.
func onScope() claim {
	c := onID(authz.RunWrite, IDOther, "input.scopeID")
	c.sort = "input.scopeType"
	return c
}

// scopeSorts are the words for what a trigger watches that lies in a project.
var scopeSorts = map[string]IDType{"PROJECT": IDProject, "ARTIFACT_COLLECTION": IDCollection}

// onAction is the claim on the integration that a trigger uses: its owner's address is spoken to.
func onAction(path string) claim {
	return onID(authz.ProjectRead, IDOther, "input.triggeredActionConfig."+path)
}

// onQueue is the claim on the queue that a trigger fills.
func onQueue() claim {
	return onID(authz.RunWrite, IDRunQueue, "input.triggeredActionConfig.queueJobActionInput.queueID")
}

// onTemplate is the claim on where the jobs of a trigger will run.
func onTemplate() claim {
	c := onRunSpec()
	c.json = "input.triggeredActionConfig.queueJobActionInput.template"
	return c
}
