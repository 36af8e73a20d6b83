package standin

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
)

var _ = mutation(fields[mutationRoot]{
	"createArtifactType": func(c *call, _ mutationRoot, a arguments) any {
		in := a.object("input")
		p := c.state.project(in.text("entityName"), in.text("projectName"))
		if p == nil || !c.server.mayWrite(c.caller, p) {
			return permissionDenied("creating artifact types")
		}
		return payload{"artifactType": artifactKind{p, in.text("name")}}
	},
	"createArtifact": createArtifact,
	"createArtifactManifest": func(c *call, _ mutationRoot, a arguments) any {
		in := a.object("input")
		v, err := c.writableArtifact(in.text("artifactID"))
		if err != nil {
			return err
		}
		i := slices.IndexFunc(v.manifests, func(m *manifest) bool { return m.name == in.text("name") })
		if i < 0 {
			m := &manifest{artifact: v, name: in.text("name"), kind: in.text("type")}
			m.number = c.state.number(m)
			v.manifests = append(v.manifests, m)
			i = len(v.manifests) - 1
		}
		v.manifests[i].digest = in.text("digest")
		return payload{"artifactManifest": v.manifests[i]}
	},
	"updateArtifactManifest": func(c *call, _ mutationRoot, a arguments) any {
		in := a.object("input")
		m, ok := find[*manifest](c.state, in.text("artifactManifestID"))
		if !ok || !c.server.mayWrite(c.caller, m.artifact.sequence.project) {
			return permissionDenied("writing the manifest")
		}
		m.digest = in.textOr("digest", m.digest)
		return payload{"artifactManifest": m}
	},
	"createArtifactFiles": createArtifactFiles,
	"completeMultipartUploadArtifact": func(*call, mutationRoot, arguments) any {
		return fmt.Errorf("the stand-in hands out no multipart uploads")
	},
	"commitArtifact": func(c *call, _ mutationRoot, a arguments) any {
		v, err := c.writableArtifact(a.object("input").text("artifactID"))
		if err != nil {
			return err
		}
		c.commit(v)
		return payload{"artifact": v}
	},
	"useArtifact": func(c *call, _ mutationRoot, a arguments) any {
		in := a.object("input")
		v := c.artifact(in.text("artifactID"))
		if v == nil {
			return &statusError{http.StatusNotFound, "artifact not found"}
		}
		r, err := c.writable(in.text("entityName"), in.text("projectName"), in.text("runName"))
		if err != nil {
			return err
		}
		if !slices.Contains(r.used, v) {
			r.used = append(r.used, v)
			v.usedBy = append(v.usedBy, r)
		}
		return payload{"artifact": v}
	},
	"linkArtifact": linkArtifact,
	"unlinkArtifact": func(c *call, _ mutationRoot, a arguments) any {
		in := a.object("input")
		k, ok := find[*collection](c.state, in.text("artifactPortfolioID"))
		if !ok || !c.server.mayWrite(c.caller, k.project) {
			return permissionDenied("unlinking from the collection")
		}
		k.versions = slices.DeleteFunc(k.versions, func(m *membership) bool { return m.artifact.id() == in.text("artifactID") })
		return payload{"success": true, "artifactID": in.text("artifactID"), "clientMutationId": nil}
	},
	"updateArtifact": updateArtifact,
	"deleteArtifact": func(c *call, _ mutationRoot, a arguments) any {
		v, err := c.writableArtifact(a.object("input").text("artifactID"))
		if err != nil {
			return err
		}
		v.state = deleted
		return payload{"artifact": v}
	},
	"addAliases": func(c *call, _ mutationRoot, a arguments) any {
		return c.changeAliases(a.object("input"), func(k *collection, m *membership, name string) { k.point(name, m) })
	},
	"deleteAliases": func(c *call, _ mutationRoot, a arguments) any {
		return c.changeAliases(a.object("input"), func(_ *collection, m *membership, name string) {
			m.aliases = slices.DeleteFunc(m.aliases, func(other string) bool { return other == name })
		})
	},
	"updateArtifactSequence":  changeCollection("artifactSequenceID", describeCollection),
	"updateArtifactPortfolio": changeCollection("artifactPortfolioID", describeCollection),
	"deleteArtifactSequence":  changeCollection("artifactSequenceID", func(k *collection, _ arguments) { k.deleted = true }),
	"deleteArtifactPortfolio": changeCollection("artifactPortfolioID", func(k *collection, _ arguments) { k.deleted = true }),
	"moveArtifactSequence": changeCollection("artifactSequenceID", func(k *collection, in arguments) {
		k.kind = in.text("destinationArtifactTypeName")
	}),
	"createArtifactCollectionTagAssignments": func(c *call, _ mutationRoot, a arguments) any {
		k, names, err := c.tagged(a.object("input"))
		if err != nil {
			return err
		}
		for _, name := range names {
			if !slices.Contains(k.tags, name) {
				k.tags = append(k.tags, name)
			}
		}
		return payload{"tags": tagsOf(k.tags)}
	},
	"deleteArtifactCollectionTagAssignments": func(c *call, _ mutationRoot, a arguments) any {
		k, names, err := c.tagged(a.object("input"))
		if err != nil {
			return err
		}
		k.tags = slices.DeleteFunc(k.tags, func(name string) bool { return slices.Contains(names, name) })
		return payload{"success": true}
	},
})

func (c *call) writableArtifact(id string) (*artifact, error) {
	v := c.artifact(id)
	if v == nil {
		return nil, &statusError{http.StatusNotFound, "artifact not found"}
	}
	if !c.server.mayWrite(c.caller, v.sequence.project) {
		return nil, permissionDenied("writing the artifact")
	}
	return v, nil
}

// createArtifact starts a version. Content that is the latest version already is that version.
func createArtifact(c *call, _ mutationRoot, a arguments) any {
	in := a.object("input")
	t := c.entityOr(in.text("entityName"))
	if t == nil {
		return entityNotFound(in.text("entityName"), "createArtifact")
	}
	p := c.state.project(t.name, in.text("projectName"))
	if p == nil || !c.server.mayWrite(c.caller, p) {
		return permissionDenied("creating artifacts in " + t.name + "/" + in.text("projectName"))
	}
	name := in.text("artifactCollectionName")
	if names := in.texts("artifactCollectionNames"); name == "" && len(names) > 0 {
		name = names[0]
	}
	sequence := p.collection(name)
	if sequence == nil {
		sequence = c.addCollection(p, name, in.text("artifactTypeName"), false)
	}
	if sequence.portfolio || sequence.kind != in.text("artifactTypeName") {
		return fmt.Errorf("artifact %q exists with type %q", name, sequence.kind)
	}
	var wanted []string
	for _, x := range in.objects("aliases") {
		wanted = append(wanted, x.text("alias"))
	}
	if m := sequence.latest(); m != nil && in.truth("enableDigestDeduplication") && m.artifact.digest == in.text("digest") {
		for _, name := range wanted {
			sequence.point(name, m)
		}
		c.remember(in.text("clientID"), m.artifact)
		return payload{"artifact": m.artifact}
	}
	v := &artifact{
		sequence: sequence, state: pending, digest: in.text("digest"),
		description: in.text("description"), metadata: in.text("metadata"), historyAt: in["historyStep"],
		ttl: in["ttlDurationSeconds"], wanted: wanted, creator: p.run(in.text("runName")), owner: c.owner(),
		created: now(), updated: now(),
	}
	for _, x := range in.objects("tags") {
		v.tags = append(v.tags, x.text("tagName"))
	}
	v.number = c.state.number(v)
	c.remember(in.text("clientID"), v)
	return payload{"artifact": v}
}

func (c *call) remember(clientID string, v *artifact) {
	if clientID != "" {
		c.state.clients[clientID] = v
	}
}

func (c *call) addCollection(p *project, name, kind string, portfolio bool) *collection {
	k := &collection{project: p, name: name, kind: kind, portfolio: portfolio, created: now()}
	k.number = c.state.number(k)
	p.collections = append(p.collections, k)
	return k
}

// commit makes the artifact the sequence's next version and the latest.
func (c *call) commit(v *artifact) {
	if v.state == committed {
		return
	}
	v.state, v.updated = committed, now()
	c.readManifest(v)
	v.index = len(v.sequence.versions)
	m := c.addVersion(v.sequence, v)
	for _, name := range v.wanted {
		v.sequence.point(name, m)
	}
	if v.creator != nil {
		v.creator.logged = append(v.creator.logged, v)
	}
}

// readManifest lists the artifact's files as its manifest does: also references, and files that an
// earlier version has uploaded.
func (c *call) readManifest(v *artifact) {
	m := v.manifest()
	if m == nil {
		return
	}
	var content struct {
		Contents map[string]struct {
			Digest string `json:"digest"`
			Ref    string `json:"ref"`
			Size   int    `json:"size"`
		} `json:"contents"`
	}
	if json.Unmarshal(c.state.blobs[m.blob()], &content) != nil {
		return
	}
	for path, entry := range content.Contents {
		if v.file(path) == nil {
			v.files = append(v.files, &artifactFile{
				artifact: v, path: path, md5: entry.Digest, ref: entry.Ref, size: entry.Size, updated: now(),
			})
		}
	}
	slices.SortFunc(v.files, func(a, b *artifactFile) int { return cmp.Compare(a.path, b.path) })
}

func (c *call) addVersion(k *collection, v *artifact) *membership {
	m := &membership{collection: k, artifact: v, index: len(k.versions), created: now()}
	m.number = c.state.number(m)
	k.versions = append(k.versions, m)
	k.updated = now()
	k.point("latest", m)
	return m
}

// point moves an alias to m.
func (c *collection) point(name string, m *membership) {
	for _, other := range c.versions {
		other.aliases = slices.DeleteFunc(other.aliases, func(n string) bool { return n == name })
	}
	m.aliases = append(m.aliases, name)
}

func createArtifactFiles(c *call, _ mutationRoot, a arguments) any {
	var files []*artifactFile
	for _, spec := range a.object("input").objects("artifactFiles") {
		v, err := c.writableArtifact(spec.text("artifactID"))
		if err != nil {
			return err
		}
		f := v.file(spec.text("name"))
		if f == nil {
			f = &artifactFile{artifact: v, path: spec.text("name"), updated: now()}
			v.files = append(v.files, f)
		}
		f.md5, f.mimetype = spec.text("md5"), spec.text("mimetype")
		files = append(files, f)
	}
	return payload{"files": page(files, arguments{})}
}

func linkArtifact(c *call, _ mutationRoot, a arguments) any {
	in := a.object("input")
	v := c.artifact(in.text("artifactID"))
	if v == nil {
		v = c.state.clients[in.text("clientID")]
	}
	if v == nil || !c.server.mayRead(c.caller, v.sequence.project) {
		return &statusError{http.StatusNotFound, "artifact not found"}
	}
	p := c.state.project(in.text("entityName"), in.text("projectName"))
	if p == nil || !c.server.mayWrite(c.caller, p) {
		return permissionDenied("linking to " + in.text("entityName") + "/" + in.text("projectName"))
	}
	name := in.text("artifactPortfolioName")
	k := p.collection(name)
	if k == nil {
		k = c.addCollection(p, name, v.sequence.kind, true)
	}
	i := slices.IndexFunc(k.versions, func(m *membership) bool { return m.artifact == v })
	m := &membership{}
	if i >= 0 {
		m = k.versions[i]
	} else {
		m = c.addVersion(k, v)
	}
	for _, x := range in.objects("aliases") {
		k.point(x.text("alias"), m)
	}
	return payload{"versionIndex": m.index, "artifactMembership": m}
}

func updateArtifact(c *call, _ mutationRoot, a arguments) any {
	in := a.object("input")
	v, err := c.writableArtifact(in.text("artifactID"))
	if err != nil {
		return err
	}
	v.description = in.textOr("description", v.description)
	v.metadata = in.textOr("metadata", v.metadata)
	if in.given("ttlDurationSeconds") {
		v.ttl = in["ttlDurationSeconds"]
	}
	for _, x := range in.objects("tagsToAdd") {
		v.tags = append(v.tags, cmp.Or(x.text("tagName"), x.text("name")))
	}
	for _, x := range in.objects("tagsToDelete") {
		v.tags = slices.DeleteFunc(v.tags, func(name string) bool { return name == cmp.Or(x.text("tagName"), x.text("name")) })
	}
	if i := slices.IndexFunc(v.sequence.versions, func(m *membership) bool { return m.artifact == v }); i >= 0 && in.given("aliases") {
		for _, x := range in.objects("aliases") {
			v.sequence.point(x.text("alias"), v.sequence.versions[i])
		}
	}
	v.updated = now()
	return payload{"artifact": v}
}

// changeAliases applies change to the artifact's place in every collection that the input names.
func (c *call) changeAliases(in arguments, change func(*collection, *membership, string)) any {
	v := c.artifact(in.text("artifactID"))
	if v == nil {
		return &statusError{http.StatusNotFound, "artifact not found"}
	}
	for _, x := range in.objects("aliases") {
		entity := cmp.Or(x.text("entityName"), v.sequence.project.entity.name)
		p := c.state.project(entity, cmp.Or(x.text("projectName"), v.sequence.project.name))
		if p == nil || !c.server.mayWrite(c.caller, p) {
			return permissionDenied("changing aliases")
		}
		k := p.collection(x.text("artifactCollectionName"))
		if k == nil {
			return fmt.Errorf("artifact collection %q not found", x.text("artifactCollectionName"))
		}
		i := slices.IndexFunc(k.versions, func(m *membership) bool { return m.artifact == v })
		if i < 0 {
			return fmt.Errorf("the artifact is not in collection %q", k.name)
		}
		change(k, k.versions[i], x.text("alias"))
	}
	return payload{"success": true}
}

// changeCollection returns the resolver of a mutation that names a collection by id.
func changeCollection(key string, change func(*collection, arguments)) func(*call, mutationRoot, arguments) any {
	return func(c *call, _ mutationRoot, a arguments) any {
		in := a.object("input")
		k, ok := find[*collection](c.state, in.text(key))
		if !ok || !c.server.mayWrite(c.caller, k.project) {
			return permissionDenied("changing the artifact collection")
		}
		change(k, in)
		k.updated = now()
		return payload{"artifactCollection": k}
	}
}

func describeCollection(k *collection, in arguments) {
	k.name = in.textOr("name", k.name)
	k.description = in.textOr("description", k.description)
}

// tagged finds the collection and the tag names of a tag assignment.
func (c *call) tagged(in arguments) (*collection, []string, error) {
	p := c.state.project(in.text("entityName"), in.text("projectName"))
	if p == nil || !c.server.mayWrite(c.caller, p) {
		return nil, nil, permissionDenied("tagging artifact collections")
	}
	k := p.collection(in.text("artifactCollectionName"))
	if k == nil {
		return nil, nil, fmt.Errorf("artifact collection %q not found", in.text("artifactCollectionName"))
	}
	var names []string
	for _, x := range in.objects("tags") {
		names = append(names, x.text("tagName"))
	}
	return k, names, nil
}
