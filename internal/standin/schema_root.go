package standin

import (
	"maps"
	"slices"
)

// queryRoot and mutationRoot are the two ends that documents start from. Mutations are defined in
// parts, beside the types they change.
type (
	queryRoot    struct{}
	mutationRoot struct{}
)

// mutation adds root fields to Mutation.
func mutation(fs fields[mutationRoot]) bool {
	all, ok := objectTypes[typeKey[mutationRoot]()]
	if !ok {
		return define("Mutation", fs)
	}
	for name, resolve := range fs {
		all.fields[name] = func(c *call, self any, a arguments) any { return resolve(c, self.(mutationRoot), a) }
	}
	return true
}

var _ = define("Query", fields[queryRoot]{
	"viewer": func(c *call, _ queryRoot, _ arguments) any { return c.user },
	"user":   func(c *call, _ queryRoot, a arguments) any { return c.state.user(a.text("userName")) },
	"users":  func(c *call, _ queryRoot, a arguments) any { return c.users(a) },
	"serverInfo": func(c *call, _ queryRoot, _ arguments) any {
		return serverInfo{}
	},
	"entity": func(c *call, _ queryRoot, a arguments) any { return c.entity(a.text("name")) },
	"organization": func(c *call, _ queryRoot, a arguments) any {
		if a.text("name") != c.server.config.Organization {
			return nil
		}
		return organization{c.server.config.Organization}
	},
	"project": func(c *call, _ queryRoot, a arguments) any { return c.project(a, "name") },
	"model":   func(c *call, _ queryRoot, a arguments) any { return c.project(a, "name") },
	"models":  func(c *call, _ queryRoot, a arguments) any { return c.projects(a) },
	"artifact": func(c *call, _ queryRoot, a arguments) any {
		return c.artifact(a.text("id"))
	},
	"artifactCollection": func(c *call, _ queryRoot, a arguments) any {
		found, ok := find[*collection](c.state, a.text("id"))
		if !ok || !c.server.mayRead(c.caller, found.project) {
			return nil
		}
		return found
	},
	"clientIDMapping": func(c *call, _ queryRoot, a arguments) any {
		found := c.state.clients[a.text("clientID")]
		if found == nil || !c.server.mayRead(c.caller, found.sequence.project) {
			return nil
		}
		return payload{"serverID": found.id()}
	},
	"__type":   func(_ *call, _ queryRoot, a arguments) any { return describe(a.text("name")) },
	"__schema": func(_ *call, _ queryRoot, _ arguments) any { return describeAll() },
})

// project finds a project that the caller may read. What is hidden looks like what is not there.
func (c *call) project(a arguments, nameKey string) any {
	t := c.entityOr(a.text("entityName"))
	if t == nil {
		return nil
	}
	p := c.state.project(t.name, a.text(nameKey))
	if p == nil || !c.server.mayRead(c.caller, p) {
		return nil
	}
	return p
}

// projects lists the projects of an entity that the caller may read.
func (c *call) projects(a arguments) any {
	t := c.entityOr(a.text("entityName"))
	if t == nil {
		return nil
	}
	return page(c.projectsOf(t), a)
}

func (c *call) projectsOf(t *team) []*project {
	var out []*project
	for _, p := range c.state.projects {
		if p.entity == t && !p.deleted && c.server.mayRead(c.caller, p) {
			out = append(out, p)
		}
	}
	return out
}

func (c *call) entity(name string) *team { return c.server.entity(name) }

// entityOr returns the named entity, or the caller's default when no name is given.
func (c *call) entityOr(name string) *team {
	if name == "" {
		return c.server.defaultEntity(c.user)
	}
	return c.entity(name)
}

func (c *call) users(a arguments) any {
	if !c.server.config.Trust && (c.user == nil || !c.user.admin) {
		return permissionDenied("users are for admins")
	}
	var out []*user
	for _, u := range c.state.users {
		if q := a.text("query"); !u.deleted && (q == "" || u.username == q || u.email == q) {
			out = append(out, u)
		}
	}
	return page(out, a)
}

type serverInfo struct{}

var _ = define("ServerInfo", fields[serverInfo]{
	"cliVersionInfo": func(*call, serverInfo, arguments) any {
		return map[string]string{"max_cli_version": "99.0.0", "min_cli_version": "0.10.0"}
	},
	"latestLocalVersionInfo": func(*call, serverInfo, arguments) any {
		return payload{"outOfDate": false, "latestVersionString": "0.80.0", "versionOnThisInstanceString": "0.80.0"}
	},
	"features": func(c *call, _ serverInfo, _ arguments) any {
		out := []payload{}
		for _, name := range c.server.config.Features {
			out = append(out, payload{"name": name, "isEnabled": true})
		}
		return out
	},
	"exposesExplicitRunPatch": func(*call, serverInfo, arguments) any { return false },
})

type serverSettings struct{}

// Old SDKs cannot sync an offline run unless the server knows this type.
var _ = define("ServerSettings", fields[serverSettings]{
	"serverMessages": func(*call, serverSettings, arguments) any { return []payload{} },
})

// inputTypes are the input objects that old SDKs probe before they send newer members.
var inputTypes = map[string][]string{
	"AddAliasesInput":                 {"aliases", "artifactID"},
	"CreateArtifactFileSpecInput":     {"artifactID", "artifactManifestID", "md5", "mimetype", "name", "storagePath", "uploadPartsInput"},
	"CreateArtifactInput":             {"aliases", "artifactCollectionName", "artifactCollectionNames", "artifactTypeName", "clientID", "description", "digest", "digestAlgorithm", "distributedID", "enableDigestDeduplication", "entityName", "historyStep", "labels", "metadata", "projectName", "runName", "sequenceClientID", "tags", "ttlDurationSeconds"},
	"CreateLaunchAgentInput":          {"agentConfig", "entityName", "hostname", "projectName", "runQueues", "version"},
	"CreateRunQueueInput":             {"access", "entityName", "projectName", "queueName"},
	"DeleteFilesInput":                {"files", "projectId"},
	"FailRunQueueItemInput":           {"filePaths", "message", "runQueueItemId", "stage"},
	"PushToRunQueueInput":             {"priority", "queueID", "runSpec", "templateVariableValues"},
	"UpdateArtifactInput":             {"aliases", "artifactID", "description", "metadata", "tagsToAdd", "tagsToDelete", "ttlDurationSeconds"},
	"UpsertModelInput":                {"access", "description", "entityName", "id", "name"},
	"UseArtifactInput":                {"artifactEntityName", "artifactID", "artifactProjectName", "entityName", "projectName", "runName", "usedAs"},
	"LinkArtifactInput":               {"aliases", "artifactID", "artifactPortfolioName", "clientID", "entityName", "projectName"},
	"DeleteArtifactSequenceInput":     {"artifactSequenceID"},
	"CreateArtifactManifestInput":     {"artifactID", "baseArtifactID", "digest", "entityName", "name", "projectName", "runName", "type"},
	"CompleteMultipartUploadArtifact": {"artifactID", "completeMultipartAction", "completedParts", "storagePath", "uploadID"},
}

// describe answers introspection of one type; nil if it is not known, as the server does.
func describe(name string) any {
	if members, ok := inputTypes[name]; ok {
		return payload{"__typename": "__Type", "name": name, "kind": "INPUT_OBJECT", "fields": nil, "inputFields": named(members)}
	}
	for _, t := range objectTypes {
		if t.name == name || slices.Contains(t.interfaces, name) {
			return payload{
				"__typename": "__Type", "name": name, "kind": "OBJECT",
				"fields": named(slices.Sorted(maps.Keys(t.fields))), "inputFields": nil,
			}
		}
	}
	return nil
}

func named(names []string) []payload {
	out := make([]payload, len(names))
	for i, name := range names {
		out[i] = payload{"name": name, "args": []payload{}}
	}
	return out
}

func describeAll() any {
	var types []any
	for _, t := range objectTypes {
		types = append(types, describe(t.name))
	}
	return payload{
		"queryType": payload{"name": "Query"}, "mutationType": payload{"name": "Mutation"},
		"subscriptionType": nil, "types": types, "directives": []payload{},
	}
}
