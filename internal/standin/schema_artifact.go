package standin

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// artifact finds an artifact by node id, if the caller may read its project.
func (c *call) artifact(id string) *artifact {
	a, ok := find[*artifact](c.state, id)
	if !ok || !c.server.mayRead(c.caller, a.sequence.project) {
		return nil
	}
	return a
}

// readable keeps the artifacts whose projects the caller may read.
func (c *call) readable(list []*artifact) []*artifact {
	var out []*artifact
	for _, a := range list {
		if c.server.mayRead(c.caller, a.sequence.project) {
			out = append(out, a)
		}
	}
	return out
}

// membership finds name:alias or name:vN; without a colon the alias is latest.
func (p *project) membership(name string) *membership {
	name, alias, _ := strings.Cut(name, ":")
	if c := p.collection(name); c != nil {
		return c.version(cmp.Or(alias, "latest"))
	}
	return nil
}

// live lists the collections of an artifact type; "" is all of them.
func (p *project) live(kind string) []*collection {
	var out []*collection
	for _, c := range p.collections {
		if !c.deleted && (kind == "" || c.kind == kind) {
			out = append(out, c)
		}
	}
	return out
}

// artifactKind is an artifact type of a project: it exists while a collection has it.
type artifactKind struct {
	project *project
	name    string
}

func (p *project) kinds() []artifactKind {
	var out []artifactKind
	for _, c := range p.live("") {
		if k := (artifactKind{p, c.kind}); !slices.Contains(out, k) {
			out = append(out, k)
		}
	}
	return out
}

var _ = define("ArtifactType", fields[artifactKind]{
	"id": func(_ *call, k artifactKind, _ arguments) any {
		return encodeID("ArtifactType:%d:%s", k.project.number, k.name)
	},
	"name":                func(_ *call, k artifactKind, _ arguments) any { return k.name },
	"description":         func(*call, artifactKind, arguments) any { return nil },
	"createdAt":           func(_ *call, k artifactKind, _ arguments) any { return stamp(k.project.created) },
	"artifactCollections": func(_ *call, k artifactKind, a arguments) any { return page(k.project.live(k.name), a) },
	"artifactCollection":  findCollection,
	"artifactSequence": func(c *call, k artifactKind, a arguments) any {
		if found, ok := findCollection(c, k, a).(*collection); ok && !found.portfolio {
			return found
		}
		return nil
	},
	"artifact": func(_ *call, k artifactKind, a arguments) any {
		if m := k.project.membership(a.text("name")); m != nil {
			return m.artifact
		}
		return nil
	},
})

func findCollection(_ *call, k artifactKind, a arguments) any {
	if c := k.project.collection(a.text("name")); c != nil && c.kind == k.name {
		return c
	}
	return nil
}

type alias struct {
	membership *membership
	name       string
}

type tag struct{ name string }

var (
	_ = define("ArtifactAlias", fields[alias]{
		"id": func(_ *call, a alias, _ arguments) any {
			return encodeID("ArtifactAlias:%d:%s", a.membership.number, a.name)
		},
		"alias":                  func(_ *call, a alias, _ arguments) any { return a.name },
		"artifactCollection":     func(_ *call, a alias, _ arguments) any { return a.membership.collection },
		"artifactCollectionName": func(_ *call, a alias, _ arguments) any { return a.membership.collection.name },
	})
	_ = define("Tag", fields[tag]{
		"id":              func(_ *call, t tag, _ arguments) any { return encodeID("Tag:%s", t.name) },
		"name":            func(_ *call, t tag, _ arguments) any { return t.name },
		"tagCategoryName": func(*call, tag, arguments) any { return "user" },
	})
)

func tagsOf(names []string) []tag {
	out := make([]tag, len(names))
	for i, name := range names {
		out[i] = tag{name}
	}
	return out
}

func (m *membership) aliasList() []alias {
	out := make([]alias, len(m.aliases))
	for i, name := range m.aliases {
		out[i] = alias{m, name}
	}
	return out
}

var _ = define("ArtifactCollection", fields[*collection]{
	"id":                  func(_ *call, k *collection, _ arguments) any { return encodeID("ArtifactCollection:%d", k.number) },
	"name":                func(_ *call, k *collection, _ arguments) any { return k.name },
	"description":         func(_ *call, k *collection, _ arguments) any { return textOrNull(k.description) },
	"createdAt":           func(_ *call, k *collection, _ arguments) any { return stamp(k.created) },
	"updatedAt":           func(_ *call, k *collection, _ arguments) any { return stamp(k.updated) },
	"project":             func(_ *call, k *collection, _ arguments) any { return k.project },
	"defaultArtifactType": func(_ *call, k *collection, _ arguments) any { return artifactKind{k.project, k.kind} },
	"tags":                func(_ *call, k *collection, a arguments) any { return page(tagsOf(k.tags), a) },
	"state": func(_ *call, k *collection, _ arguments) any {
		if k.deleted {
			return deleted
		}
		return "READY"
	},
	"aliases": func(_ *call, k *collection, a arguments) any {
		var all []alias
		for _, m := range k.versions {
			all = append(all, m.aliasList()...)
		}
		return page(all, a)
	},
	"artifacts": func(_ *call, k *collection, a arguments) any {
		var all []*artifact
		for _, m := range slices.Backward(k.committed()) {
			all = append(all, m.artifact)
		}
		p := page(all, a)
		for _, e := range p.edges {
			e["version"] = fmt.Sprintf("v%d", e["node"].(*artifact).index)
		}
		return p
	},
	"artifactMemberships": func(_ *call, k *collection, a arguments) any { return page(k.committed(), a) },
	"artifactMembership":  func(_ *call, k *collection, a arguments) any { return k.version(a.text("aliasName")) },
	"latestArtifact": func(_ *call, k *collection, _ arguments) any {
		if m := k.latest(); m != nil {
			return m.artifact
		}
		return nil
	},
}, "ArtifactSequence", "ArtifactPortfolio")

// committed lists the versions that readers see, oldest first.
func (c *collection) committed() []*membership {
	var out []*membership
	for _, m := range c.versions {
		if m.artifact.state == committed {
			out = append(out, m)
		}
	}
	return out
}

func (c *collection) latest() *membership {
	all := c.committed()
	if len(all) == 0 {
		return nil
	}
	return all[len(all)-1]
}

var _ = define("ArtifactCollectionMembership", fields[*membership]{
	"id": func(_ *call, m *membership, _ arguments) any {
		return encodeID("ArtifactCollectionMembership:%d", m.number)
	},
	"versionIndex":       func(_ *call, m *membership, _ arguments) any { return m.index },
	"createdAt":          func(_ *call, m *membership, _ arguments) any { return stamp(m.created) },
	"aliases":            func(_ *call, m *membership, _ arguments) any { return m.aliasList() },
	"artifactCollection": func(_ *call, m *membership, _ arguments) any { return m.collection },
	"artifact":           func(_ *call, m *membership, _ arguments) any { return m.artifact },
	"files":              func(_ *call, m *membership, a arguments) any { return page(m.artifact.selected(a.texts("names")), a) },
})

var _ = define("Artifact", fields[*artifact]{
	"id":                 func(_ *call, v *artifact, _ arguments) any { return v.id() },
	"state":              func(_ *call, v *artifact, _ arguments) any { return v.state },
	"digest":             func(_ *call, v *artifact, _ arguments) any { return v.digest },
	"digestAlgorithm":    func(*call, *artifact, arguments) any { return "MANIFEST_MD5" },
	"description":        func(_ *call, v *artifact, _ arguments) any { return textOrNull(v.description) },
	"metadata":           func(_ *call, v *artifact, _ arguments) any { return textOrNull(v.metadata) },
	"tags":               func(_ *call, v *artifact, _ arguments) any { return tagsOf(v.tags) },
	"ttlDurationSeconds": func(_ *call, v *artifact, _ arguments) any { return cmp.Or(v.ttl, any(-1)) },
	"ttlIsInherited":     func(_ *call, v *artifact, _ arguments) any { return v.ttl == nil },
	"historyStep":        func(_ *call, v *artifact, _ arguments) any { return v.historyAt },
	"size":               func(c *call, v *artifact, _ arguments) any { return v.size(c) },
	"commitHash":         func(_ *call, v *artifact, _ arguments) any { return fmt.Sprintf("%020x", v.number) },
	"fileCount":          func(_ *call, v *artifact, _ arguments) any { return len(v.files) },
	"createdAt":          func(_ *call, v *artifact, _ arguments) any { return stamp(v.created) },
	"updatedAt":          func(_ *call, v *artifact, _ arguments) any { return stamp(v.updated) },
	"artifactSequence":   func(_ *call, v *artifact, _ arguments) any { return v.sequence },
	"artifactType":       func(_ *call, v *artifact, _ arguments) any { return artifactKind{v.sequence.project, v.sequence.kind} },
	"currentManifest":    func(_ *call, v *artifact, _ arguments) any { return v.manifest() },
	"files":              func(_ *call, v *artifact, a arguments) any { return page(v.selected(a.texts("names")), a) },
	"versionIndex": func(_ *call, v *artifact, _ arguments) any {
		if v.state != committed {
			return nil
		}
		return v.index
	},
	"filesByManifestEntries": func(_ *call, v *artifact, a arguments) any {
		var names []string
		for _, e := range a.objects("entries") {
			names = append(names, e.text("name"))
		}
		return page(v.selected(names), a)
	},
	"aliases": func(c *call, v *artifact, _ arguments) any {
		out := []alias{}
		for _, m := range c.memberships(v) {
			out = append(out, m.aliasList()...)
		}
		return out
	},
	"artifactMemberships": func(c *call, v *artifact, a arguments) any { return page(c.memberships(v), a) },
	"createdBy": func(_ *call, v *artifact, _ arguments) any {
		if v.creator != nil {
			return v.creator
		}
		return v.owner
	},
	"usedBy": func(c *call, v *artifact, a arguments) any {
		var runs []*run
		for _, r := range v.usedBy {
			if c.server.mayRead(c.caller, r.project) {
				runs = append(runs, r)
			}
		}
		return page(runs, a)
	},
})

// memberships are the places of an artifact that the caller may see.
func (c *call) memberships(v *artifact) []*membership {
	var out []*membership
	for _, p := range c.state.projects {
		if p.deleted || !c.server.mayRead(c.caller, p) {
			continue
		}
		for _, k := range p.live("") {
			for _, m := range k.versions {
				if m.artifact == v {
					out = append(out, m)
				}
			}
		}
	}
	return out
}

func (v *artifact) selected(names []string) []*artifactFile {
	if len(names) == 0 {
		return v.files
	}
	var out []*artifactFile
	for _, name := range names {
		if f := v.file(name); f != nil {
			out = append(out, f)
		}
	}
	return out
}

func (v *artifact) size(c *call) int {
	total := 0
	for _, f := range v.files {
		total += f.bytes(c.state)
	}
	return total
}

var _ = define("ArtifactManifest", fields[*manifest]{
	"id":     func(_ *call, m *manifest, _ arguments) any { return encodeID("ArtifactManifest:%d", m.number) },
	"digest": func(_ *call, m *manifest, _ arguments) any { return m.digest },
	"file": func(c *call, m *manifest, _ arguments) any {
		return payload{
			"__typename": "File", "id": encodeID("ArtifactFile:%d:%s", m.number, m.name), "name": m.name,
			"directUrl": c.signedURL(http.MethodGet, m.blob()),
			"uploadUrl": c.signedURL(http.MethodPut, m.blob()), "uploadHeaders": []string{},
		}
	},
})

var _ = define("ArtifactFile", fields[*artifactFile]{
	"id": func(_ *call, f *artifactFile, _ arguments) any {
		return encodeID("ArtifactFile:%d:%s", f.artifact.number, f.path)
	},
	"name":          func(_ *call, f *artifactFile, _ arguments) any { return f.path },
	"displayName":   func(_ *call, f *artifactFile, _ arguments) any { return f.path },
	"sizeBytes":     func(c *call, f *artifactFile, _ arguments) any { return f.bytes(c.state) },
	"mimetype":      func(_ *call, f *artifactFile, _ arguments) any { return textOrNull(f.mimetype) },
	"updatedAt":     func(_ *call, f *artifactFile, _ arguments) any { return stamp(f.updated) },
	"md5":           func(_ *call, f *artifactFile, _ arguments) any { return f.md5 },
	"digest":        func(_ *call, f *artifactFile, _ arguments) any { return f.md5 },
	"storagePath":   func(_ *call, f *artifactFile, _ arguments) any { return f.storagePath() },
	"directUrl":     func(c *call, f *artifactFile, _ arguments) any { return f.download(c) },
	"url":           func(c *call, f *artifactFile, _ arguments) any { return f.download(c) },
	"uploadHeaders": func(*call, *artifactFile, arguments) any { return []string{} },
	"artifact":      func(_ *call, f *artifactFile, _ arguments) any { return f.artifact },
	// Content that the server has already needs no upload.
	"uploadUrl": func(c *call, f *artifactFile, _ arguments) any {
		if _, ok := c.state.blobs[f.blob()]; ok {
			return nil
		}
		return c.signedURL(http.MethodPut, f.blob())
	},
	"uploadMultipartUrls": func(*call, *artifactFile, arguments) any { return nil },
})

// typename is what artifacts' files are called in answers.
func (f *artifactFile) typename() string { return "File" }

func (f *artifactFile) storagePath() string { return "wandb_artifacts/" + hexOf(f.md5) }

// download is where the content is: the reference itself, or a signed URL.
func (f *artifactFile) download(c *call) string {
	if f.ref != "" {
		return f.ref
	}
	return c.signedURL(http.MethodGet, f.blob())
}
