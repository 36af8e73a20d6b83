// Package gateway is a request's life, from its first header to the upstream's answer:
//
//	clean       identity that the client claims is removed, whatever happens next
//	route       the target becomes a typed route, once
//	credential  exactly one
//	identify    who holds it: a Principal, or 401, or 503 when nobody can tell
//	access      what the request would touch: a list of permissions on resources
//	authorize   every access is decided on facts of one revision
//	attribution for whom a service account works
//	forward     with the verified identity, and with nothing else
//	observe     answers are read only where the gateway must learn or add
//
// Each phase either hands the exchange on or returns an error; one place (refuse) turns an error
// into an answer in the caller's own protocol. The package knows neither Caddy nor where facts come
// from: it declares the interfaces it needs, and caddymodule hands in what fulfils them.
package gateway
