// Package wandb reads what W&B clients send: which route a request takes, what a GraphQL document
// or a Weave body would touch, and what the ids in it stand for. It turns requests into a list of
// accesses, each a permission on a resource, and leaves the judging to package authz. The W&B
// server itself is behind the gateway; its unit of ownership is the project, which sdk-wire names
// entity/project.
package wandb

import (
	"github.com/wandb-gateway/wandb-gateway/authz"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// ResourceKind says what a Resource names.
type ResourceKind uint8

// The kinds. The zero value is Unplaced: the gateway cannot tell what the request would touch.
const (
	ResourceUnplaced     ResourceKind = iota
	ResourceProject                   // Entity and Project; Run if one run is meant
	ResourceEntity                    // Entity
	ResourceOrganization              // Organization, "" for the caller's own
	ResourceSelf                      // the caller
	ResourceServer                    // the deployment
	ResourceID                        // ID hides its project and must be placed first (sdk-wire 4.4)
)

// Resource is what an access is about. Names are as they came: decoded, not folded.
type Resource struct {
	Kind         ResourceKind
	Organization string
	Entity       string
	Project      string
	Run          string
	// ID is an opaque node id and IDType what sort of thing it names. If the request names Entity and
	// Project beside it, what it names must lie there.
	ID     string
	IDType IDType
}

// IDType says what an opaque id names, as far as its place in the document tells.
type IDType string

// The sorts of ids that hide their project (sdk-wire 4.4).
const (
	IDArtifact         IDType = "artifact"
	IDArtifactClient   IDType = "artifact_client"
	IDArtifactManifest IDType = "artifact_manifest"
	IDCollection       IDType = "artifact_collection"
	IDSweep            IDType = "sweep"
	IDAgent            IDType = "agent"
	IDLaunchAgent      IDType = "launch_agent"
	IDRunQueue         IDType = "run_queue"
	IDRunQueueItem     IDType = "run_queue_item"
	IDProject          IDType = "project"
	IDProjectNumber    IDType = "project_number"
	IDTrigger          IDType = "trigger"
	IDView             IDType = "view"
	IDFile             IDType = "file"
	IDOther            IDType = "other"
)

// Access is one thing a request wants to do. A request is allowed when every access is.
type Access struct {
	Permission authz.Permission
	Product    authz.Product
	Resource   Resource
	// Creates is true when the request makes the project if it is not there (upsertBucket,
	// upsertModel): then ProjectCreate is needed in place of Permission.
	Creates bool
	// Visibility is what the request wants the project to have, if SetsVisibility. A word for it that is not known is
	// Restricted (design section 8).
	Visibility     iam.Visibility
	SetsVisibility bool
	// Filtered is true for a list of projects from which the gateway drops, in the answer, what
	// the caller may not see.
	Filtered bool
	// Crossing is true when a document that is allowed at its root walks out of what its root names
	// (crossings.go). The gateway enforces it where it is the only judge (design section 3, step 4).
	Crossing bool
	// Redactable is true for a crossing that need not refuse the request: Answer empties the field
	// behind it when AnswerOptions.Redact says so.
	Redactable bool
}
