package wandb

import (
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/wandb-gateway/wandb-gateway/authz"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// parse reads an origin-form target the way net/http does.
func parse(t testing.TB, target string) *url.URL {
	t.Helper()
	u, err := url.ParseRequestURI(target)
	if err != nil {
		t.Fatalf("net/http refuses %q before the gateway sees it: %v", target, err)
	}
	return u
}

func TestParseRoute(t *testing.T) {
	detector := Resource{Kind: ResourceProject, Entity: "vision", Project: "detector"}
	r1 := Resource{Kind: ResourceProject, Entity: "vision", Project: "detector", Run: "r1"}
	tests := []struct {
		method, target string
		want           Route
	}{
		{"POST", "/graphql", Route{Kind: RouteGraphQL}},
		{"OPTIONS", "/graphql", Route{Kind: RoutePreflight}},
		{"POST", "/files/vision/detector/r1/file_stream", Route{Kind: RouteFileStream, Entity: "vision", Project: "detector", Run: "r1",
			Accesses: []Access{{Permission: authz.RunWrite, Resource: r1}}}},
		{"GET", "/files/vision/detector/r1/media/images/a%20b.png", Route{Kind: RouteRunFile, Entity: "vision", Project: "detector", Run: "r1",
			Accesses: []Access{{Permission: authz.ProjectRead, Resource: r1}}}},
		{"GET", "/files/vision/detector/r1/sub%2Ffile", Route{Kind: RouteRunFile, Entity: "vision", Project: "detector", Run: "r1",
			Accesses: []Access{{Permission: authz.ProjectRead, Resource: r1}}}},
		{"PUT", "/files/vision/detector/r1/a;b=c", Route{Kind: RouteRunFile, Entity: "vision", Project: "detector", Run: "r1",
			Accesses: []Access{{Permission: authz.RunWrite, Resource: r1}}}},
		{"GET", "/files/al%40acme.test/two%20words/r1/x", Route{Kind: RouteRunFile, Entity: "al@acme.test", Project: "two words", Run: "r1",
			Accesses: []Access{{Permission: authz.ProjectRead, Resource: Resource{Kind: ResourceProject, Entity: "al@acme.test", Project: "two words", Run: "r1"}}}}},
		{"GET", "/artifacts/vision/0123abcd", Route{Kind: RouteArtifact, Entity: "vision", Accesses: []Access{
			{Permission: authz.EntityRead, Resource: Resource{Kind: ResourceEntity, Entity: "vision"}},
			{Permission: authz.UnplacedRead, Resource: Resource{Kind: ResourceUnplaced, Entity: "vision"}}}}},
		{"GET", "/artifactsV2/default/vision/detector/a/b/c/birth/0123/model.bin", Route{Kind: RouteArtifact, Entity: "vision", Project: "detector",
			Accesses: []Access{{Permission: authz.ProjectRead, Resource: detector}}}},
		{"PUT", "/artifactsV2/default/vision/detector/a/birth/0123/model.bin", Route{Kind: RouteArtifact, Entity: "vision", Project: "detector",
			Accesses: []Access{{Permission: authz.RunWrite, Resource: detector}}}},
		{"POST", "/traces/call/upsert_batch", Route{Kind: RouteWeave, WeaveEndpoint: "/call/upsert_batch"}},
		{"POST", "/sdk/otel/v1/metrics", Route{Kind: RouteTelemetry}},
		{"POST", "/oidc/token", Route{Kind: RouteDoor, Door: DoorToken}},
		{"GET", "/scim/v2/Users", Route{Kind: RouteDoor, Door: DoorSCIMv2}},
		{"GET", "/scim/Users", Route{Kind: RouteDoor, Door: DoorSCIM}},
		{"GET", "/scim/v20/Users", Route{Kind: RouteDoor, Door: DoorSCIM}},
		{"GET", "/wandb-gateway/anything", Route{Kind: RouteDoor, Door: DoorOther}},
		{"GET", "/wandb-gateway/healthz", Route{Kind: RouteDoor, Door: DoorHealthz}},
		{"GET", "/", Route{Kind: RoutePage}},
		{"HEAD", "/vision/detector/runs/r1/", Route{Kind: RoutePage}},
		{"GET", "/vision/detector/reports/Ein-Bericht-%C3%BC--Vmlldzo", Route{Kind: RoutePage}},
		{"GET", "/secret?x=/graphql", Route{Kind: RoutePage}},
		{"POST", "/anything/else", Route{Kind: RouteUnknown}},
		{"GET", "/files/vision", Route{Kind: RouteUnknown}},
		{"GET", "/artifactsV2/default/vision", Route{Kind: RouteUnknown}},
	}
	for _, tt := range tests {
		t.Run(tt.method+" "+tt.target, func(t *testing.T) {
			got, err := ParseRoute(tt.method, parse(t, tt.target), RouteConfig{})
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got.Accesses, tt.want.Accesses) {
				t.Errorf("accesses %+v, want %+v", got.Accesses, tt.want.Accesses)
			}
			got.Accesses, tt.want.Accesses = nil, nil
			if !equalRoutes(got, tt.want) {
				t.Errorf("route %+v, want %+v", got, tt.want)
			}
		})
	}
}

func equalRoutes(a, b Route) bool {
	return a.Kind == b.Kind && a.Door == b.Door && a.Entity == b.Entity && a.Project == b.Project && a.Run == b.Run &&
		a.WeaveEndpoint == b.WeaveEndpoint
}

// TestParseRouteRefuses goes through what threats P05, P06, P07 and P10 list.
func TestParseRouteRefuses(t *testing.T) {
	long := "/files/vision/detector/" + strings.Repeat("a", 10<<10) + "/x"
	tests := []struct {
		name, method, target string
		reason               iam.Reason
	}{
		{"matrix parameters climb", "POST", "/..;/graphql", ReasonNonCanonicalTarget},
		{"escaped dots with parameter", "POST", "/%2e%2e;/graphql", ReasonNonCanonicalTarget},
		{"escaped climb", "GET", "/x/%2f%2e%2e/graphql", ReasonNonCanonicalTarget},
		{"slash behind", "POST", "/graphql/", ReasonNonCanonicalTarget},
		{"below", "POST", "/graphql/x.css", ReasonNonCanonicalTarget},
		{"page below", "GET", "/graphql/x.css", ReasonNonCanonicalTarget},
		{"NUL", "POST", "/graphql%00", ReasonNonCanonicalTarget},
		{"another case", "POST", "/GraphQL", ReasonNonCanonicalTarget},
		{"page in another case", "GET", "/GraphQL", ReasonNonCanonicalTarget},
		{"two slashes", "POST", "//graphql", ReasonNonCanonicalTarget},
		{"parameter", "POST", "/graphql;a=b", ReasonNonCanonicalTarget},
		{"dot segment", "POST", "/./graphql", ReasonNonCanonicalTarget},
		{"climb", "POST", "/files/../graphql", ReasonNonCanonicalTarget},
		{"page climbs", "GET", "/vision/../files/other/secret/r1/x", ReasonNonCanonicalTarget},
		{"overlong UTF-8", "GET", "/x%c0%afgraphql", ReasonNonCanonicalTarget},
		{"trailing dot", "POST", "/graphql.", ReasonNonCanonicalTarget},
		{"trailing space", "POST", "/graphql%20", ReasonNonCanonicalTarget},
		{"escaped letter", "POST", "/%67raphql", ReasonNonCanonicalTarget},
		{"escaped slash", "GET", "/files/vision%2fdetector/r1/x/y", ReasonNonCanonicalTarget},
		{"escaped backslash", "GET", "/files/vision%5cdetector/r1/x/y", ReasonNonCanonicalTarget},
		{"raw backslash", "GET", `/files\vision/detector/r1/x`, ReasonNonCanonicalTarget},
		{"escaped twice", "GET", "/files/vision/%252e%252e/r1/x", ReasonNonCanonicalTarget},
		{"page escaped twice", "GET", "/a/%252e%252e/files/x", ReasonNonCanonicalTarget},
		{"entity is dots", "GET", "/files/../detector/r1/x", ReasonNonCanonicalTarget},
		{"entity is a dot", "GET", "/files/./detector/r1/x", ReasonNonCanonicalTarget},
		{"empty entity", "GET", "/files//detector/r1/x", ReasonNonCanonicalTarget},
		{"full-width slash", "GET", "/files/vision/a%ef%bc%8fb/r1/x", ReasonNonCanonicalTarget},
		{"files in capitals", "GET", "/Files/vision/detector/r1/x", ReasonNonCanonicalTarget},
		{"artifacts in another case", "GET", "/artifactsv2/default/vision/detector/c/b/m/f", ReasonNonCanonicalTarget},
		{"weave in another case", "POST", "/Traces/call/end", ReasonNonCanonicalTarget},
		{"scim in another case", "GET", "/SCIM/Users", ReasonNonCanonicalTarget},
		{"door in another case", "GET", "/admin/Audit_logs", ReasonNonCanonicalTarget},
		{"door with a slash", "GET", "/admin/audit_logs/", ReasonNonCanonicalTarget},
		{"file name climbs", "GET", "/files/vision/detector/r1/../../other/r1/x", ReasonNonCanonicalTarget},
		{"file name climbs escaped", "GET", "/files/vision/detector/r1/%2e%2e%2fx", ReasonNonCanonicalTarget},
		{"file name climbs escaped twice", "GET", "/files/vision/detector/r1/%252e%252e%252fx", ReasonNonCanonicalTarget},
		{"file name climbs with backslashes", "GET", "/files/vision/detector/r1/..%5c..%5cx", ReasonNonCanonicalTarget},
		{"file name climbs with a parameter", "GET", "/files/vision/detector/r1/..;a/x", ReasonNonCanonicalTarget},
		{"file name climbs in IIS's way", "GET", "/files/vision/detector/r1/%25u002e%25u002e%25u002fx", ReasonNonCanonicalTarget},
		{"file name with NUL", "GET", "/files/vision/detector/r1/x%00.png", ReasonNonCanonicalTarget},
		{"collection climbs", "GET", "/artifactsV2/default/vision/detector/../secret/b/m/f", ReasonNonCanonicalTarget},
		{"long name", "GET", long, ReasonNonCanonicalTarget},
		{"query in the URL", "POST", "/graphql?query={viewer{id}}", ReasonNonCanonicalTarget},
		{"operation in the URL", "POST", "/graphql?OperationName=B", ReasonNonCanonicalTarget},
		{"GET of GraphQL", "GET", "/graphql?query={viewer{id}}", ReasonMethodNotAllowed},
		{"TRACE", "TRACE", "/", ReasonMethodNotAllowed},
		{"CONNECT", "CONNECT", "/", ReasonMethodNotAllowed},
		{"lower-case method", "get", "/", ReasonMethodNotAllowed},
		{"PRI", "PRI", "/", ReasonMethodNotAllowed},
		{"long method", strings.Repeat("G", 2048), "/", ReasonMethodNotAllowed},
		{"GET of a stream", "GET", "/files/vision/detector/r1/file_stream", ReasonMethodNotAllowed},
		{"DELETE of a file", "DELETE", "/files/vision/detector/r1/x", ReasonMethodNotAllowed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			u, err := url.ParseRequestURI(tt.target)
			if err != nil {
				t.Fatalf("net/http refuses it: %v", err)
			}
			route, err := ParseRoute(tt.method, u, RouteConfig{})
			if err == nil {
				t.Fatalf("accepted as %+v", route)
			}
			if iam.KindOf(err) != iam.KindInvalid || iam.ReasonOf(err) != tt.reason {
				t.Errorf("kind %d, reason %q, want %q", iam.KindOf(err), iam.ReasonOf(err), tt.reason)
			}
		})
	}
	for _, target := range []*url.URL{{Path: "*"}, {Opaque: "x"}, {}} {
		if _, err := ParseRoute("OPTIONS", target, RouteConfig{}); iam.ReasonOf(err) != ReasonNonCanonicalTarget {
			t.Errorf("%v: %v", target, err)
		}
	}
}

// FuzzParseRoute checks that what was judged is what is forwarded: the segments that decide mean the
// same after another round of encoding or decoding.
func FuzzParseRoute(f *testing.F) {
	for _, seed := range []string{"/graphql", "/files/a/b/c/file_stream", "/files/a/b%20c/d/x/%2e/y", "/artifactsV2/d/e/p/c/b/m/f",
		"/artifacts/e/00", "/traces/call/end", "/%2e%2e/x", "/files/a/%252e/c/d", "/files/a/b/c/%25252e%25252e", "/a;b"} {
		f.Add("GET", seed)
	}
	f.Fuzz(func(t *testing.T, method, target string) {
		u, err := url.ParseRequestURI(target)
		if err != nil {
			return
		}
		route, err := ParseRoute(method, u, RouteConfig{})
		if err != nil {
			if iam.KindOf(err) != iam.KindInvalid {
				t.Fatalf("%q: %v", target, err)
			}
			return
		}
		path := u.EscapedPath()
		for _, name := range []string{route.Entity, route.Project, route.Run} {
			if again, err := url.PathUnescape(name); name != "" && (err != nil || again != name) {
				t.Fatalf("%q: %q decodes once more, to %q", target, name, again)
			}
			if strings.ContainsAny(name, "/\\\x00;") || name == "." || name == ".." {
				t.Fatalf("%q: %q is no segment", target, name)
			}
		}
		switch route.Kind {
		case RouteFileStream, RouteRunFile:
			want := []string{"files", route.Entity, route.Project, route.Run}
			for i, segment := range strings.Split(path[1:], "/")[:4] {
				if decoded, err := url.PathUnescape(segment); err != nil || decoded != want[i] {
					t.Fatalf("%q: segment %d is forwarded as %q, judged as %q", target, i, decoded, want[i])
				}
			}
		case RouteGraphQL:
			if path != "/graphql" {
				t.Fatalf("%q is GraphQL", target)
			}
		}
		if route.Kind != RouteUnknown && route.Kind != RoutePreflight {
			for s := path; ; {
				for _, segment := range strings.FieldsFunc(s, func(r rune) bool { return r == '/' || r == '\\' }) {
					if segment == ".." {
						t.Fatalf("%q climbs", target)
					}
				}
				decoded := decodeLoosely(s)
				if decoded == s {
					break
				}
				s = decoded
			}
		}
	})
}

func BenchmarkParseRoute(b *testing.B) {
	for _, target := range []string{"/graphql", "/files/vision/detector/r1/file_stream", "/vision/detector/runs/r1"} {
		b.Run(target, func(b *testing.B) {
			u := parse(b, target)
			method := "POST"
			if strings.HasPrefix(target, "/vision") {
				method = "GET"
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := ParseRoute(method, u, RouteConfig{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func TestParseRunID(t *testing.T) {
	entity, project, run, err := ParseRunID(FormatRunID("vision", "detector", "r1"))
	if err != nil || entity != "vision" || project != "detector" || run != "r1" {
		t.Fatal(entity, project, run, err)
	}
	good := FormatRunID("a>?", "p", "r") // not a name, but both alphabets differ on it
	tests := map[string]string{
		"other count":      "UnVuOnYxOnI6cA==",
		"other version":    FormatRunID("e", "p", "r")[:4] + "djI6cjpwOmU",
		"no base64":        "Run:v1:r:p:e",
		"space":            " " + FormatRunID("e", "p", "r"),
		"line break":       FormatRunID("e", "p", "rr")[:8] + "\n" + FormatRunID("e", "p", "rr")[8:],
		"too much padding": FormatRunID("e", "p", "r") + "====",
		"artifact":         "QXJ0aWZhY3Q6MTIz",
		"empty":            "",
		"entity no name":   good,
		"five fields":      FormatRunID("e", "p", "r:r"),
		"loose bits":       "UnVuOnYxOnI6cDplZR==",
	}
	for name, id := range tests {
		if entity, project, run, err := ParseRunID(id); err == nil {
			t.Errorf("%s: %q is %s/%s/%s", name, id, entity, project, run)
		}
	}
	// Padding and alphabet do not make another run of it.
	id := strings.TrimRight(FormatRunID("vision", "detector", "r1"), "=")
	if _, _, run, err := ParseRunID(id); err != nil || run != "r1" {
		t.Error("unpadded:", run, err)
	}
}
