package tests

import (
	"net/http"
	"strings"
	"testing"
)

// TestTargets is P05 to P08 and F7: one reading of the target, for the gateway and for what stands
// behind it. Mallory may read hostile/own and must not get at anything of vision's.
func TestTargets(t *testing.T) {
	a := startAttacked(t, config{})
	auth := "Authorization: " + basic(malloryKey) + "\r\n"
	request := func(method, target, body string) string {
		r := method + " " + target + " HTTP/1.1\r\nHost: 127.0.0.1\r\n" + auth + "Connection: close\r\n"
		if method == "POST" || method == "PUT" {
			r += "Content-Type: application/json\r\n"
		}
		if body != "" {
			r += "Content-Length: " + itoa(len(body)) + "\r\n"
		}
		return r + "\r\n" + body
	}

	// Targets that two parsers could read in two ways: 400 from us, or from Go's own parser.
	for _, target := range []string{
		// GraphQL by another name.
		"/graphql/", "//graphql", "/./graphql", "/x/../graphql", "/files/../graphql", "/GraphQL", "/GRAPHQL", "/graphql/x.css",
		"/graphql%00", "/graphql;a=b", "/graphql%3ba", "/%67raphql", "/graphq%6c", "/graphql%20", "/graphql.", "/graphql%2f", "/%2fgraphql",
		"/graphql%5c", "/graphql/..", "/x/..;/graphql", "/%2e%2e/graphql", "/%2e%2e;/graphql", "/%252e%252e/graphql", "/x%2f..%2fgraphql",
		"/graphql\\", "/graphql%", "/graphql%0a", "/graphql%0d%0aX:y",
		// Another project than the one that is written first.
		"/files/hostile/own/../../vision/team/run1/file_stream", "/files/hostile/own/run1/../../../vision/team/run1/x",
		"/files/hostile/own/%2e%2e/%2e%2e/vision/team/run1/x", "/files/hostile/own/run1/%2e%2e%2f%2e%2e%2f%2e%2e%2fvision/team/run1/x",
		"/files/hostile/own/run1/%252e%252e/x", "/files/hostile/own/run1/%25252e%25252e/x", "/files/hostile/own/run1/..%5c..%5cx",
		"/files/hostile/own/run1/..;/..;/x", "/files/hostile/own/run1/.%2e/x", "/files/hostile/own/run1/%c0%ae%c0%ae/x",
		"/files/hostile/own/run1/%u002e%u002e/x", "/files/hostile/own/run1/..%c0%afx", "/files/hostile/own/run1/..%ef%bc%8fx",
		"/files/hostile%2fown/x/run1/x", "/files/hostile/own%2f..%2fteam/run1/x", "/files/hostile/own;a/run1/x", "/files/hostile/own%3b/run1/x",
		"/files/./own/run1/x", "/files/../own/run1/x", "/files//own/run1/x", "/files/hostile//run1/x", "/files/hostile/own//x",
		"/files/hostile/own%00/run1/x", "/files/hostile/own%20/run1/x", "/files/hostile/%20own/run1/x", "/files/hostile/own./run1/x",
		"/files/hostile/own%ef%bc%8fx/run1/x", "/files/hostile/" + strings.Repeat("a", 10<<10) + "/run1/x", "/files/%68ostile/own/run1/x",
		"/files/hostile/own/run1/a%00b", "/files/hostile/own/run1/a%0ab", "/files/hostile/own/run1/%ff",
		"/Files/hostile/own/run1/x", "/FILES/vision/team/run1/x", "/%66iles/vision/team/run1/x", "/files;x/vision/team/run1/x",
		"/artifactsv2/gcp/vision/team/c/1/x", "/Artifacts/vision/00", "/artifactsV2/gcp/hostile/own/../../vision/team/c/x",
		"/artifactsV2/gcp/hostile/own/c/%2e%2e/%2e%2e/%2e%2e/vision/team/c", "/artifactsV2/gcp/hostile%2f..%2fvision/own/c/x",
		"/Traces/calls", "/TRACES/call/read", "/%74races/call/read", "/traces/../graphql", "/traces//call/read", "/traces/call%2fread",
		"/traces/%2e%2e/graphql", "/traces;x/call",
		// Doors.
		"/SCIM/Users", "/scim/../graphql", "/Wandb-Gateway/healthz", "/wandb-gateway/..%2fgraphql", "/OIDC/token", "/Authorize", "/sdk%2fotel/v1",
		"/Logout", "/%6fidc/token", "/admin/audit_logs/", "/Admin/audit_logs", "/page/%2e%2e/scim/Users", "/page/..;/scim/Users",
	} {
		for _, method := range []string{"GET", "POST"} {
			t.Run("not canonical/"+method+" "+name(target), func(t *testing.T) {
				got := a.raw(t, request(method, target, ""))
				if got.status != http.StatusBadRequest || got.reason() != "" && got.reason() != "non_canonical_target" {
					t.Errorf("answered %d %q", got.status, got.reason())
				}
				a.untouched(t)
			})
		}
	}

	// Targets with one reading, judged by it: someone else's project is not there.
	for _, target := range []string{
		"/files/vision/team/run1/x", "/files/vision/restricted/run1/x", "/files/VISION/team/run1/x", "/files/vision/nothing/run1/x",
		"/files/nobody/own/run1/x", "/files/vision/team/run1/a/b%20c", "/files/vision/team/run1/x?entity=hostile&project=own",
		"/files/vision/team/run1/x?/../../../../hostile/own/run1/x", "/files/vision/team/run1/x%23/hostile", "/artifactsV2/gcp/vision/team/c/1/x",
		"/artifactsV2/hostile/vision/team/c/1/x", "/artifacts/vision/00112233445566778899aabbccddeeff",
	} {
		t.Run("foreign/"+name(target), func(t *testing.T) {
			got := a.raw(t, request("GET", target, ""))
			if got.status != http.StatusForbidden && got.status != http.StatusNotFound || got.reason() == "" {
				t.Errorf("answered %d %q", got.status, got.reason())
			}
			a.untouched(t)
		})
	}
	t.Run("foreign/composed and decomposed", func(t *testing.T) {
		for _, project := range []string{"caf%C3%A9", "cafe%CC%81"} {
			a.refuses(t, a.raw(t, request("GET", "/files/vision/"+project+"/run1/x", "")).answer, http.StatusNotFound, "not_found")
			got := a.raw(t, request("GET", "/files/hostile/"+project+"/run1/x", "")) // one's own team's; nothing recorded
			if q := a.passed(t, got.answer); q.target() != "GET /files/hostile/"+project+"/run1/x" {
				t.Errorf("forwarded as %q", q.target())
			}
		}
	})

	// What passes arrives byte for byte.
	for _, target := range []string{
		"/files/hostile/own/run1/x", "/files/hostile/own/run1/a/b%20c", "/files/hostile/own/run1/100%25.txt", "/files/hostile/own/run1/a..b/...",
		"/files/hostile/own/run1/media/x;y", "/files/hostile/own/run1/%C3%A9", "/files/hostile/own/run1/a+b", "/files/hostile/own/run1/x?a=1;b=2&c=%zz",
		"/artifactsV2/gcp/hostile/own/c/1/x", "/files/vision/public/run1/x", "/page", "/page?x=/../graphql", "/vision/team",
		"/page?" + strings.Repeat("a=b&", 2000),
	} {
		t.Run("passes/"+name(target), func(t *testing.T) {
			got := a.raw(t, request("GET", target, ""))
			if q := a.passed(t, got.answer); q.target() != "GET "+target {
				t.Errorf("forwarded as %q", q.target())
			}
		})
	}
	t.Run("passes/absolute target", func(t *testing.T) {
		got := a.raw(t, request("GET", "http://127.0.0.1/files/hostile/own/run1/x", ""))
		if q := a.passed(t, got.answer); q.target() != "GET /files/hostile/own/run1/x" {
			t.Errorf("forwarded as %q", q.target())
		}
	})

	// P07: no header and no query makes a public page of it.
	for name, line := range map[string]string{
		"original url": "X-Original-URL: /wandb-gateway/healthz", "rewrite": "X-Rewrite-URL: /page", "uri": "X-Forwarded-Uri: /wandb-gateway/healthz",
		"health check": "User-Agent: GoogleHC/1.0", "method": "X-HTTP-Method-Override: GET", "prefix": "X-Forwarded-Prefix: /wandb-gateway/healthz",
	} {
		t.Run("headers do not decide/"+name, func(t *testing.T) {
			got := a.raw(t, "POST /files/vision/team/run1/file_stream HTTP/1.1\r\nHost: 127.0.0.1\r\n"+auth+line+"\r\nContent-Length: 0\r\n\r\n")
			a.refuses(t, got.answer, http.StatusForbidden, "team_project")
			got = a.raw(t, "GET /files/vision/team/run1/x?x=/wandb-gateway/healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n"+line+"\r\n\r\n")
			a.refuses(t, got.answer, http.StatusUnauthorized, "no_credential")
		})
	}

	// P10, F5: methods.
	for _, method := range []string{"TRACE", "TRACK", "PRI", "get", "Get", "QUERY", "PROPFIND", "BREW", strings.Repeat("M", 2048)} {
		t.Run("method/"+name(method), func(t *testing.T) {
			got := a.raw(t, request(method, "/files/hostile/own/run1/x", ""))
			if got.status != http.StatusMethodNotAllowed && got.status != http.StatusBadRequest {
				t.Errorf("answered %d", got.status)
			}
			a.untouched(t)
		})
	}
	for _, target := range []string{"127.0.0.1:1", "127.0.0.1", "/graphql", "vision:443", "*"} {
		t.Run("connect/"+name(target), func(t *testing.T) {
			got := a.raw(t, request("CONNECT", target, ""))
			otherHost := got.status == http.StatusOK && got.body == "" // no site of ours: Caddy says nothing (F9)
			if got.status != http.StatusBadRequest && got.status != http.StatusMethodNotAllowed && !otherHost {
				t.Errorf("answered %d", got.status)
			}
			a.untouched(t)
		})
	}
	for _, line := range []string{
		"GET /graphql?query=%7Bviewer%7Bid%7D%7D", "PUT /graphql", "DELETE /graphql", "PATCH /graphql", "HEAD /graphql", "DELETE /files/hostile/own/run1/x",
		"POST /files/hostile/own/run1/x", "GET /files/hostile/own/run1/file_stream",
	} {
		t.Run("route's methods/"+name(line), func(t *testing.T) {
			method, target, _ := strings.Cut(line, " ")
			got := a.raw(t, request(method, target, ""))
			if got.status != http.StatusMethodNotAllowed {
				t.Errorf("answered %d", got.status)
			}
			a.untouched(t)
		})
	}
	for _, line := range []string{"POST /page", "DELETE /vision/team", "POST /files", "GET /files/vision", "GET /files", "PUT /storage/x", "POST /api/graphql", "POST /graphqlx"} {
		t.Run("unknown route/"+name(line), func(t *testing.T) {
			method, target, _ := strings.Cut(line, " ")
			a.refuses(t, a.raw(t, request(method, target, "")).answer, http.StatusForbidden, "unknown_route")
		})
	}
	t.Run("asterisk", func(t *testing.T) {
		for _, method := range []string{"GET", "OPTIONS", "POST"} {
			a.raw(t, request(method, "*", ""))
			a.untouched(t)
		}
	})

	// P18: what the gateway serves it never forwards.
	for _, target := range []string{
		"/oidc/token", "/oidc/login", "/oidc/callback", "/oidc/backchannel-logout", "/logout", "/authorize", "/scim", "/scim/Users", "/scim/v2/Users",
		"/admin/audit_logs", "/wandb-gateway", "/wandb-gateway/", "/wandb-gateway/healthz", "/wandb-gateway/readyz", "/wandb-gateway/anything",
		"/wandb-gateway/console/", "/.well-known/wandb-gateway/jwks.json", "/.well-known/oauth-authorization-server",
	} {
		t.Run("doors/"+name(target), func(t *testing.T) {
			for _, method := range []string{"GET", "POST", "DELETE", "OPTIONS"} {
				a.raw(t, request(method, target, ""))
				if requests, n := a.upstream.take(); n != 0 {
					t.Errorf("%s reached the upstream: %q", method, requests)
				}
			}
		})
	}
	for _, target := range []string{"/metrics", "/debug/pprof/", "/debug/vars", "/config/", "/load"} {
		t.Run("no metrics or administration here/"+name(target), func(t *testing.T) {
			got := a.raw(t, request("GET", target, ""))
			if q := a.passed(t, got.answer); q.target() != "GET "+target { // a page of the upstream's, not of ours
				t.Errorf("forwarded as %q", q.target())
			}
		})
	}

	// P08: another host is nobody's.
	for name, lines := range map[string]string{
		"evil": "Host: evil", "two": "Host: 127.0.0.1\r\nHost: evil", "user": "Host: x@127.0.0.1", "empty": "Host:", "none": "X: y", "folded": "Host: 127.0.0.1\r\n evil",
		"slash": "Host: 127.0.0.1/graphql", "space": "Host: 127.0.0.1 evil",
	} {
		t.Run("host/"+name, func(t *testing.T) {
			got := a.raw(t, "GET /files/hostile/own/run1/x HTTP/1.1\r\n"+lines+"\r\n"+auth+"Connection: close\r\n\r\n")
			if got.status == http.StatusOK && got.body != "" {
				t.Errorf("answered %d %s", got.status, got.body)
			}
			a.untouched(t)
		})
	}
	t.Run("host/absolute target to another", func(t *testing.T) {
		a.raw(t, request("GET", "http://evil/files/hostile/own/run1/x", ""))
		a.untouched(t)
		a.raw(t, request("GET", "http://evil@127.0.0.1/files/hostile/own/run1/x", ""))
		if requests, _ := a.upstream.take(); len(requests) > 1 || len(requests) == 1 && requests[0].target() != "GET /files/hostile/own/run1/x" {
			t.Errorf("the upstream got %q", requests)
		}
	})
	t.Run("host/http 1.0 without", func(t *testing.T) {
		a.raw(t, "GET /files/hostile/own/run1/x HTTP/1.0\r\n"+auth+"\r\n")
		a.untouched(t)
	})
}

// name makes a target the name of a subtest.
func name(target string) string {
	if len(target) > 80 {
		target = target[:80]
	}
	return strings.ReplaceAll(target, "/", "|")
}
