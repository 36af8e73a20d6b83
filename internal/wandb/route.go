package wandb

import (
	"net/url"
	"strings"

	"github.com/wandb-gateway/wandb-gateway/authz"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// RouteKind says which way a request takes through the gateway.
type RouteKind uint8

// The kinds. The zero value is the route that is refused.
const (
	RouteUnknown    RouteKind = iota // outside the table and not a page
	RoutePreflight                   // OPTIONS: goes on without identity
	RouteGraphQL                     // POST /graphql: Reader tells what it would touch
	RouteFileStream                  // POST /files/{entity}/{project}/{run}/file_stream
	RouteRunFile                     // /files/{entity}/{project}/{run}/{name}
	RouteArtifact                    // /artifacts/... and /artifactsV2/...
	RouteWeave                       // below the Weave prefix: WeaveEndpoint
	RouteTelemetry                   // /sdk/otel/...
	RouteDoor                        // the gateway's own: Door
	RoutePage                        // GET or HEAD outside the table
)

var routeNames = [...]string{
	"unknown", "preflight", "graphql", "file_stream", "run_file", "artifact", "weave", "telemetry", "door", "page",
}

// String returns the kind's name for logs.
func (k RouteKind) String() string {
	if int(k) < len(routeNames) {
		return routeNames[k]
	}
	return "unknown"
}

// Door names one of the gateway's own doors (design section 6).
type Door uint8

// The doors. DoorOther is everything else below /wandb-gateway/, which is never forwarded.
const (
	DoorNone                Door = iota
	DoorToken                    // /oidc/token
	DoorLogin                    // /oidc/login
	DoorCallback                 // /oidc/callback
	DoorBackchannelLogout        // /oidc/backchannel-logout
	DoorLogout                   // /logout
	DoorAuthorize                // /authorize
	DoorSCIM                     // /scim/...: W&B's dialect
	DoorSCIMv2                   // /scim/v2/...: RFC 7644
	DoorAuditLogs                // /admin/audit_logs
	DoorConsole                  // /wandb-gateway/console/...
	DoorHealthz                  // /wandb-gateway/healthz
	DoorReadyz                   // /wandb-gateway/readyz
	DoorJWKS                     // /.well-known/wandb-gateway/jwks.json
	DoorAuthorizationServer      // /.well-known/oauth-authorization-server
	DoorOther
)

var doorNames = [...]string{
	"none", "token", "login", "callback", "backchannel_logout", "logout", "authorize", "scim", "scim_v2",
	"audit_logs", "console", "healthz", "readyz", "jwks", "authorization_server", "other",
}

// String returns the door's name for logs.
func (d Door) String() string {
	if int(d) < len(doorNames) {
		return doorNames[d]
	}
	return "other"
}

// Route is a request's target, parsed once. What stands in it is what the deployment behind the
// gateway will understand too: ParseRoute refuses every target that two parsers could read in two
// ways.
type Route struct {
	Kind RouteKind
	Door Door
	// Entity, Project and Run are the decoded names in the path; empty where it has none.
	Entity, Project, Run string
	// Accesses is what follows from path and method alone.
	Accesses []Access
	// WeaveEndpoint is the path below the Weave prefix, starting with a slash.
	WeaveEndpoint string
}

// RouteConfig is what ParseRoute must know of the deployment.
type RouteConfig struct {
	// WeavePrefix is the path below which the Weave trace server answers; empty means "/traces".
	WeavePrefix string
}

// DefaultWeavePrefix is where the Weave trace server answers unless configured otherwise.
const DefaultWeavePrefix = "/traces"

// The reasons for which a target is refused.
const (
	ReasonNonCanonicalTarget iam.Reason = "non_canonical_target" // 400
	ReasonMethodNotAllowed   iam.Reason = "method_not_allowed"   // 405
)

// maxTargetBytes bounds the escaped path. Real ones stay below 1 KiB.
const maxTargetBytes = 8 << 10

// ParseRoute reads a request's method and target (design section 3, step 3). It refuses a target
// that is not canonical in the segments that decide with iam.KindInvalid and
// ReasonNonCanonicalTarget, and a method that the route does not know with ReasonMethodNotAllowed.
func ParseRoute(method string, u *url.URL, cfg RouteConfig) (Route, error) {
	if !knownMethod(method) {
		return Route{}, methodNotAllowed(method)
	}
	t, err := parseTarget(u)
	if err != nil {
		return Route{}, err
	}
	prefix := cfg.WeavePrefix
	if prefix == "" {
		prefix = DefaultWeavePrefix
	}
	route, err := t.route(method, u, prefix)
	if err != nil {
		return Route{}, err
	}
	if method == "OPTIONS" && route.Kind != RouteDoor && route.Kind != RouteTelemetry {
		return Route{Kind: RoutePreflight}, nil
	}
	return route, nil
}

// route finds the row of the table that the target belongs to.
func (t target) route(method string, u *url.URL, weavePrefix string) (Route, error) {
	if endpoint, ok := below(t.raw, weavePrefix); ok {
		if err := t.checkAll(); err != nil {
			return Route{}, err
		}
		return Route{Kind: RouteWeave, WeaveEndpoint: endpoint}, nil
	}
	if err := t.checkPrefix(weavePrefix); err != nil {
		return Route{}, err
	}
	switch t.segment(0) {
	case "files":
		return t.fileRoute(method)
	case "artifacts":
		return t.artifactRoute(method)
	case "artifactsV2":
		return t.artifactV2Route(method)
	}
	if err := t.checkAll(); err != nil {
		return Route{}, err
	}
	if t.raw == "/graphql" {
		return graphQLRoute(method, u)
	}
	if door := doorAt(t.raw); door != DoorNone {
		return Route{Kind: RouteDoor, Door: door}, nil
	}
	if resemblesDoor(t.raw) {
		return Route{}, nonCanonical("it is spelled almost like one of the gateway's own paths")
	}
	if _, ok := below(t.raw, "/sdk/otel"); ok {
		return Route{Kind: RouteTelemetry}, nil
	}
	if method == "GET" || method == "HEAD" {
		return Route{Kind: RoutePage}, nil
	}
	return Route{Kind: RouteUnknown}, nil
}

// graphQLRoute allows POST only: a GET could carry a query in the URL (threat G06). The same goes
// for parameters that some servers read in place of the body's members (threat G02).
func graphQLRoute(method string, u *url.URL) (Route, error) {
	if method != "POST" && method != "OPTIONS" {
		return Route{}, methodNotAllowed(method)
	}
	if u.RawQuery == "" {
		return Route{Kind: RouteGraphQL}, nil
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return Route{}, nonCanonical("the query string cannot be read")
	}
	for name := range query {
		switch strings.ToLower(name) {
		case "query", "operationname", "variables", "extensions":
			return Route{}, nonCanonical("a GraphQL request is read from its body, not from the query string")
		}
	}
	return Route{Kind: RouteGraphQL}, nil
}

// fileRoute reads /files/{entity}/{project}/{run}/{name...} (sdk-wire section 3, rows 2 to 4).
func (t target) fileRoute(method string) (Route, error) {
	const names = 3
	if len(t.segments) < 1+names {
		return t.outside()
	}
	route := Route{Kind: RouteRunFile}
	var err error
	if route.Entity, err = t.entity(1); err != nil {
		return Route{}, err
	}
	if route.Project, err = t.project(2); err != nil {
		return Route{}, err
	}
	if route.Run, err = t.project(3); err != nil { // runs are named by the same rule as projects
		return Route{}, err
	}
	if err := t.checkTail(1 + names); err != nil {
		return Route{}, err
	}
	resource := Resource{Kind: ResourceProject, Entity: route.Entity, Project: route.Project, Run: route.Run}
	if len(t.segments) == 2+names && t.segments[1+names] == "file_stream" {
		route.Kind = RouteFileStream
		if method != "POST" && method != "OPTIONS" {
			return Route{}, methodNotAllowed(method)
		}
		route.Accesses = []Access{{Permission: authz.RunWrite, Resource: resource}}
		return route, nil
	}
	permission, err := filePermission(method)
	route.Accesses = []Access{{Permission: permission, Resource: resource}}
	return route, err
}

// artifactRoute reads /artifacts/{entity}/{md5hex} (sdk-wire section 3, row 6). The path hides the
// project, so that nothing but the unplaced policy can judge it, within the entity it names.
func (t target) artifactRoute(method string) (Route, error) {
	if len(t.segments) < 3 {
		return t.outside()
	}
	entity, err := t.entity(1)
	if err != nil {
		return Route{}, err
	}
	if err := t.checkTail(2); err != nil {
		return Route{}, err
	}
	permission, err := filePermission(method)
	if err != nil {
		return Route{}, err
	}
	unplaced := authz.UnplacedRead
	if permission == authz.RunWrite {
		unplaced = authz.UnplacedWrite
	}
	return Route{Kind: RouteArtifact, Entity: entity, Accesses: []Access{
		{Permission: authz.EntityRead, Resource: Resource{Kind: ResourceEntity, Entity: entity}},
		{Permission: unplaced, Resource: Resource{Kind: ResourceUnplaced, Entity: entity}},
	}}, nil
}

// artifactV2Route reads /artifactsV2/{region}/{entity}/{project}/{collection}/... (sdk-wire section
// 3, rows 7 and 8). A collection's name may hold raw slashes (sdk-wire 3.4), so that nothing behind
// the project decides.
func (t target) artifactV2Route(method string) (Route, error) {
	const names = 3
	if len(t.segments) < 2+names {
		return t.outside()
	}
	if _, err := t.project(1); err != nil {
		return Route{}, err
	}
	entity, err := t.entity(2)
	if err != nil {
		return Route{}, err
	}
	project, err := t.project(3)
	if err != nil {
		return Route{}, err
	}
	if err := t.checkTail(1 + names); err != nil {
		return Route{}, err
	}
	permission, err := filePermission(method)
	return Route{Kind: RouteArtifact, Entity: entity, Project: project, Accesses: []Access{
		{Permission: permission, Resource: Resource{Kind: ResourceProject, Entity: entity, Project: project}},
	}}, err
}

// outside is the route of a target below a known prefix that has too few segments to be judged. It
// is no page either: nobody can tell what it reads.
func (t target) outside() (Route, error) {
	return Route{Kind: RouteUnknown}, t.checkAll()
}

func filePermission(method string) (authz.Permission, error) {
	switch method {
	case "GET", "HEAD", "OPTIONS":
		return authz.ProjectRead, nil
	case "PUT":
		return authz.RunWrite, nil
	default:
		return "", methodNotAllowed(method)
	}
}

func knownMethod(method string) bool {
	switch method {
	case "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS":
		return true
	}
	return false
}

// doors are the exact paths; doorTrees stand for themselves and all below them.
var doors = map[string]Door{
	"/oidc/token":                             DoorToken,
	"/oidc/login":                             DoorLogin,
	"/oidc/callback":                          DoorCallback,
	"/oidc/backchannel-logout":                DoorBackchannelLogout,
	"/logout":                                 DoorLogout,
	"/authorize":                              DoorAuthorize,
	"/admin/audit_logs":                       DoorAuditLogs,
	"/wandb-gateway/healthz":                  DoorHealthz,
	"/wandb-gateway/readyz":                   DoorReadyz,
	"/.well-known/wandb-gateway/jwks.json":    DoorJWKS,
	"/.well-known/oauth-authorization-server": DoorAuthorizationServer,
}

var doorTrees = []struct {
	path string
	door Door
}{
	{"/scim/v2", DoorSCIMv2},
	{"/scim", DoorSCIM},
	{"/wandb-gateway/console", DoorConsole},
	{"/wandb-gateway", DoorOther},
}

// BelowSCIM reports whether a path, canonical or not, is one of SCIM's, whose refusals have a shape of
// their own.
func BelowSCIM(path string) bool {
	_, ok := below(path, "/scim")
	return ok
}

func doorAt(path string) Door {
	if door, ok := doors[path]; ok {
		return door
	}
	for _, tree := range doorTrees {
		if _, ok := below(path, tree.path); ok {
			return tree.door
		}
	}
	return DoorNone
}

// resemblesDoor reports whether path is a door but for its case or a slash at its end: a server behind
// the gateway might take it for the path that the gateway keeps to itself.
func resemblesDoor(path string) bool {
	path = strings.TrimSuffix(path, "/")
	for door := range doors {
		if len(door) == len(path) && strings.EqualFold(door, path) {
			return true
		}
	}
	return false
}

// below returns what of path stands below prefix, and whether it is there: "/" for the prefix itself.
func below(path, prefix string) (string, bool) {
	rest, ok := strings.CutPrefix(path, prefix)
	switch {
	case !ok:
		return "", false
	case rest == "":
		return "/", true
	case rest[0] == '/':
		return rest, true
	}
	return "", false
}

func nonCanonical(why string) error {
	return &iam.Error{Kind: iam.KindInvalid, Reason: ReasonNonCanonicalTarget,
		Message: "the request target is not canonical: " + why}
}

func methodNotAllowed(method string) error {
	if len(method) > 16 {
		method = method[:16]
	}
	return &iam.Error{Kind: iam.KindInvalid, Reason: ReasonMethodNotAllowed,
		Message: "method " + strings.ToValidUTF8(method, "?") + " is not allowed here"}
}
